#include "raw_case.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "image.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

constexpr double kTolerance = 1e-6;  // largest |difference| of a window's value or a feature from the stored one

[[noreturn]] void refuse_changed(const Manifest &manifest, const std::string &step, const std::string &what) {
    throw Error(MMCAF_BUNDLE,
                manifest.name + " fails its raw case, step " + step + ": " + what +
                    ". Either the manifest was changed since the network was exported with it, or this library computes "
                    "otherwise.",
                {Remedy{"Copy the bundle again from its source, or export it again.", {}, {}, {}}});
}

std::string limited(double error) { return general(error) + ", at most " + general(kTolerance) + " is allowed"; }

std::string text_of(const Golden &golden, const std::string &name) {
    const NpyArray array = golden.array(name);
    return {array.bytes.begin(), array.bytes.end()};
}

std::vector<double> numbers_of(const Golden &golden, const std::string &name, size_t count) {
    std::vector<double> found = golden.array(name).doubles();
    if (found.size() != count) golden.refuse(name + " holds " + std::to_string(found.size()) + " values");
    return found;
}

// values: where the volume's lie as long as it is used.
Volume volume_of(const Golden &golden, const std::string &input, std::vector<int16_t> &values) {
    const NpyArray array = golden.array("raw.volume." + input);
    const std::vector<int64_t> whole = array.integers();
    const std::string intensity = text_of(golden, "raw.intensity." + input);
    if (array.shape.size() != 3 || (intensity != "hounsfield" && intensity != "rescaled" && intensity != "stored")) {
        golden.refuse("raw.volume." + input + " is no volume of a known intensity");
    }
    values.assign(whole.begin(), whole.end());
    Volume volume;
    volume.input = input;
    volume.whole_values = values.data();
    volume.intensity = intensity == "hounsfield" ? Intensity::hounsfield
                       : intensity == "rescaled" ? Intensity::rescaled
                                                 : Intensity::stored;
    const auto spacing = numbers_of(golden, "raw.spacing." + input, 3);
    const auto origin = numbers_of(golden, "raw.origin." + input, 3);
    const auto direction = numbers_of(golden, "raw.direction." + input, 9);
    for (size_t axis = 0; axis < 3; ++axis) {
        volume.shape[axis] = static_cast<size_t>(array.shape[axis]);
        volume.spacing_mm[axis] = spacing[axis];
        volume.origin_mm[axis] = origin[axis];
        std::copy_n(&direction[axis * 3], 3, volume.direction[axis].begin());
    }
    return volume;
}

// Those of the report, without padding.
std::optional<std::vector<int64_t>> tokens_of(const Manifest &manifest, const Golden &golden) {
    if (!manifest.text) return {};
    std::vector<int64_t> ids = golden.array("raw.features." + manifest.input("tokens")->name).integers();
    const auto mask = golden.array("raw.features." + manifest.input("token_mask")->name).integers();
    const auto end = std::find(mask.begin(), mask.end(), 0) - mask.begin();
    ids.resize(std::min(ids.size(), static_cast<size_t>(end)));
    return ids;
}

Prepared prepared_image(const Manifest &manifest, const Golden &golden, const std::optional<std::string> &record,
                        const Vocabulary *vocabulary) {
    const NpyArray array = golden.array("raw.plane");
    if (array.shape.size() != 2 || array.count() == 0) golden.refuse("raw.plane is no plane");
    const Plane plane{static_cast<size_t>(array.shape[0]), static_cast<size_t>(array.shape[1]), array.floats()};
    Prepared prepared;
    prepared.clinical = read_clinical(record, tokens_of(manifest, golden), manifest, vocabulary, {}, true);
    prepared.image.emplace();
    prepared.image->input = manifest.input("image")->name;
    prepared.image->values = image_input(plane, *manifest.image);
    return prepared;
}

Prepared prepare_raw(const Manifest &manifest, const Golden &golden, const Vocabulary *vocabulary) {
    std::optional<std::string> record;
    if (golden.has("raw.record")) record = text_of(golden, "raw.record");
    try {
        if (manifest.image) return prepared_image(manifest, golden, record, vocabulary);
        const std::vector<std::string> inputs = manifest.volumes();
        std::vector<std::vector<int16_t>> values(inputs.size());
        std::vector<Volume> volumes;
        for (size_t at = 0; at < inputs.size(); ++at) volumes.push_back(volume_of(golden, inputs[at], values[at]));
        Asked asked;
        asked.allow_id_mismatch = true;
        return prepare_volumes(volumes, record, tokens_of(manifest, golden), manifest, vocabulary, {}, asked);
    } catch (const Error &refusal) {
        if (refusal.code != MMCAF_STUDY && refusal.code != MMCAF_RECORD && refusal.code != MMCAF_USAGE) throw;
        std::string why = refusal.problem;
        while (!why.empty() && why.back() == '.') why.pop_back();
        refuse_changed(manifest, refusal.code == MMCAF_RECORD ? "record" : "preprocessing", "it is refused (" + why + ")");
    }
}

// Every window of one input, one after the other.
std::vector<double> all_windows(const Prepared &prepared, const Manifest &manifest, const std::string &input,
                                std::vector<int64_t> &shape) {
    std::vector<double> values;
    for (size_t at = 0; at < prepared.size(); ++at) {
        for (const Tensor &tensor : prepared.inputs(at, manifest)) {
            if (tensor.name != input) continue;
            values.insert(values.end(), tensor.reals.begin(), tensor.reals.end());
            values.insert(values.end(), tensor.integers.begin(), tensor.integers.end());
            shape = tensor.shape;
        }
    }
    if (!shape.empty()) shape[0] = static_cast<int64_t>(prepared.size());
    return values;
}

// At evenly strided flat positions of all windows.
double difference_of_windows(const Prepared &prepared, const Manifest &manifest, const Golden &golden,
                             const std::string &input) {
    std::vector<int64_t> shape;
    const std::vector<double> found = all_windows(prepared, manifest, input, shape);
    const std::vector<int64_t> wanted = golden.array("raw.shape." + input).integers();
    if (shape != wanted) {
        refuse_changed(manifest, "windows", input + " is [" + in_words(shape) + "]; [" + in_words(wanted) + "] was stored");
    }
    const std::vector<double> stored = golden.array("raw.windows." + input).doubles();
    const std::vector<int64_t> stride = golden.array("raw.stride." + input).integers();
    if (stride.size() != 1 || stride[0] < 1 ||
        stored.size() != 1 + (found.size() - 1) / static_cast<size_t>(stride[0])) {
        golden.refuse("raw.windows." + input + " holds " + std::to_string(stored.size()) + " values");
    }
    double worst = 0;
    for (size_t at = 0; at < stored.size(); ++at) {
        const double apart = std::abs(found[at * static_cast<size_t>(stride[0])] - stored[at]);
        if (!(apart <= worst)) worst = apart;
    }
    if (!(worst <= kTolerance)) refuse_changed(manifest, "windows", input + " is off by " + limited(worst));
    return worst;
}

double difference_of_features(const Prepared &prepared, const Manifest &manifest, const Golden &golden,
                              const std::string &input) {
    std::vector<int64_t> shape;
    const std::vector<double> found = all_windows(prepared, manifest, input, shape);
    const std::vector<double> stored = golden.array("raw.features." + input).doubles();
    if (stored.empty() || found.size() != stored.size() * prepared.size()) {
        refuse_changed(manifest, "features", input + " holds " + std::to_string(found.size()) + " values; " +
                                                 std::to_string(stored.size()) + " were stored");
    }
    double worst = 0;
    for (size_t at = 0; at < stored.size(); ++at) {
        const double apart = std::abs(found[at] - stored[at]);
        if (!(apart <= kTolerance)) {
            refuse_changed(manifest, "features",
                           "column " + std::to_string(at + 1) + " of " + input + " is off by " + limited(apart));
        }
        worst = std::max(worst, apart);
    }
    return worst;
}

// Where the windows of a longer series of the same matrix start; the case itself is one window, and says nothing of the
// stride.
void check_starts(const Prepared &prepared, const Manifest &manifest, const Golden &golden) {
    const std::vector<int64_t> stored = golden.array("raw.starts").integers();
    std::vector<int64_t> found;
    if (manifest.preprocessing && manifest.preprocessing->windows) {
        const Shape &shape = prepared.series.front().placement.shape;
        const auto slices = static_cast<size_t>(manifest.preprocessing->windows->slices);
        found = lay_out({3 * slices + 1, shape[1], shape[2]}, *manifest.preprocessing, 0, {}).starts;
    }
    if (found == stored) return;
    const auto listed = [](const std::vector<int64_t> &starts) { return starts.empty() ? "none" : in_words(starts); };
    refuse_changed(manifest, "windows", "they start at slices " + listed(found) + ", not " + listed(stored));
}

}  // namespace

std::optional<RawCase> check_raw_case(const Manifest &manifest, const Golden &golden, const std::string &precision,
                                      const Vocabulary *vocabulary) {
    if (!golden.has("raw.probabilities")) return {};
    RawCase found;
    found.prepared = prepare_raw(manifest, golden, vocabulary);
    for (const TensorSpec &input : manifest.inputs) {
        if (input.kind == "volume" || input.kind == "image") {
            found.windows = std::max(found.windows, difference_of_windows(found.prepared, manifest, golden, input.name));
        }
    }
    check_starts(found.prepared, manifest, golden);
    for (const TensorSpec &input : manifest.inputs) {
        if (input.kind != "volume" && input.kind != "image") {
            found.features = std::max(found.features, difference_of_features(found.prepared, manifest, golden, input.name));
        }
    }
    const std::string own = "raw.probabilities@" + precision;
    found.probabilities = golden.array(golden.has(own) ? own : "raw.probabilities").doubles();
    return found;
}

}  // namespace mmcaf
