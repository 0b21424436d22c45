#include "given.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "call.hpp"
#include "created.hpp"
#include "json.hpp"
#include "text.hpp"

namespace mmcaf {
namespace {

constexpr size_t MOST_VALUES = size_t{1} << 36;  // of a volume or tensor, far above what any scanner gives
constexpr size_t MOST_AXES = 16;

// What each version of a struct takes, the newest last. A version that appends members appends its size.
constexpr size_t OPEN_OPTIONS_SIZES[] = {sizeof(mmcaf_open_options)};
constexpr size_t VOLUME_SIZES[] = {sizeof(mmcaf_volume)};
constexpr size_t ANSWER_OPTIONS_SIZES[] = {sizeof(mmcaf_answer_options)};

// The members that the caller knows; the rest keep their defaults.
template <class Struct, size_t versions>
Struct taken(const Struct *given, const std::string &name, const size_t (&sizes)[versions], void (*fill)(Struct *, size_t)) {
    Struct own;
    fill(&own, sizeof own);
    if (given == nullptr) return own;
    const size_t size = given->struct_size;
    if (std::find(std::begin(sizes), std::end(sizes), size) == std::end(sizes)) {
        throw Error(MMCAF_USAGE,
                    name + ".struct_size is " + std::to_string(size) + "; this library knows " +
                        std::to_string(sizeof(Struct)) + " bytes.",
                    {{"Fill it with " + name + "_default, and use a library as new as the header", "", "", ""}});
    }
    std::memcpy(&own, given, size);
    own.struct_size = sizeof own;
    return own;
}

std::string text(const char *given, const char *name) { return text_given(given, std::string(name)); }

std::optional<std::string> maybe(const char *given, const char *name) {
    return given == nullptr ? std::nullopt : std::optional<std::string>(text(given, name));
}

std::optional<double> known(double given) { return std::isnan(given) ? std::nullopt : std::optional<double>(given); }

Limits limits_of(double seconds, mmcaf_progress_function progress, void *user) {
    if (progress == nullptr) return Limits(seconds);
    return Limits(seconds, [progress, user](const char *stage, size_t done, size_t total) {
        return call_back("progress", progress, user, stage, done, total) == 0;
    });
}

Intensity intensity_of(mmcaf_intensity given) {
    switch (given) {
        case MMCAF_HOUNSFIELD: return Intensity::hounsfield;
        case MMCAF_RESCALED: return Intensity::rescaled;
        case MMCAF_STORED: return Intensity::stored;
    }
    throw Error(MMCAF_USAGE, "mmcaf_volume.intensity is " + std::to_string(static_cast<int>(given)) +
                                 ", none of MMCAF_HOUNSFIELD, MMCAF_RESCALED and MMCAF_STORED.");
}

void check_type(mmcaf_type type, bool known_type, const char *name, const char *among) {
    if (!known_type) {
        throw Error(MMCAF_USAGE, std::string(name) + " is " + std::to_string(static_cast<int>(type)) + ", " + among + ".");
    }
}

std::optional<SliceSpan> span_of(const mmcaf_answer_options &given) {
    if (given.first_slice == 0 && given.last_slice == 0) return std::nullopt;
    if (given.first_slice < 1 || given.last_slice < given.first_slice) {
        throw Error(MMCAF_USAGE,
                    "slices " + std::to_string(given.first_slice) + "-" + std::to_string(given.last_slice) +
                        ": two numbers from 1 at the feet are expected, the second not below the first.",
                    {{"Leave both 0 to score all", "first_slice", "0", ""}});
    }
    return SliceSpan{given.first_slice, given.last_slice};
}

std::string view_of(const mmcaf_answer_options &given) {
    const std::string view = text(given.view, "view");
    if (!view.empty() && view != "frontal" && view != "lateral") {
        throw Error(MMCAF_USAGE, "view is " + mmcaf::quoted(view) + ", neither frontal nor lateral.",
                    {{"Leave it NULL where it is not known.", "view", "", ""}});
    }
    return view;
}

}  // namespace

std::string text_given(const char *given, const std::string &name) {
    const std::string text = given == nullptr ? "" : given;
    for (size_t at = 0; at < text.size();) {
        const auto [point, size] = code_point(text, at);
        const bool control = point < 0x20 || (point >= 0x7F && point < 0xA0), half = point >= 0xD800 && point < 0xE000;
        if (size == 0 || control || half) {
            throw Error(MMCAF_USAGE,
                        name + (size != 0 && control ? " holds a control character" : " is not UTF-8") + " at byte " +
                            std::to_string(at + 1) + ".",
                        {{"Decode it by the character set that it came in, and hand over UTF-8.", "", "", ""}});
        }
        at += size;
    }
    return text;
}

Opened opening_given(const mmcaf_open_options *options) {
    const mmcaf_open_options given = taken(options, "mmcaf_open_options", OPEN_OPTIONS_SIZES, mmcaf_open_options_init);
    if (given.threads < 0) {
        throw Error(MMCAF_USAGE, "threads is " + std::to_string(given.threads) + "; a number of cores is expected.",
                    {{"Leave it 0 for all that the process may use", "threads", "0", ""}});
    }
    Opened opened{{}, maybe(given.trusted_key, "trusted_key"), limits_of(0, given.progress, given.user)};
    opened.runner.precision = maybe(given.precision, "precision").value_or("auto");
    opened.runner.threads = given.threads;
    opened.runner.cache = maybe(given.cache, "cache");
    opened.runner.kernels = maybe(given.kernels, "kernels");
    opened.runner.require_kept_engine = given.require_kept_engine != 0;
    if (given.log != nullptr) {
        const mmcaf_log_function log = given.log;
        void *const user = given.user;
        opened.runner.log = [log, user](int level, const std::string &message) {
            call_back("log", log, user, level, escaped(message).c_str());
        };
    }
    return opened;
}

Answering answering_given(const mmcaf_answer_options *options) {
    const mmcaf_answer_options given =
        taken(options, "mmcaf_answer_options", ANSWER_OPTIONS_SIZES, mmcaf_answer_options_init);
    if (given.instance_count != 0) require(given.instances, "mmcaf_answer_options.instances");
    if (given.stride < 0) {
        throw Error(MMCAF_USAGE, "stride is " + std::to_string(given.stride) + "; a number of slices is expected.",
                    {{"Leave it 0 for the bundle's", "stride", "0", ""}});
    }
    Answering found{{}, {}, text(given.series_uid, "series_uid"), {}, {}, {}, limits_of(given.deadline_seconds, given.progress, given.user)};
    found.header.patient = {maybe(given.patient_id, "patient_id"), maybe(given.patient_sex, "patient_sex"),
                            known(given.patient_age_years), known(given.patient_weight_kg)};
    found.header.modality = text(given.modality, "modality");
    found.header.body_part = text(given.body_part, "body_part");
    found.header.study_uid = text(given.study_uid, "study_uid");
    found.header.frame_of_reference_uid = text(given.frame_of_reference_uid, "frame_of_reference_uid");
    found.header.series_uid = found.series_uid;
    found.header.view = view_of(given);
    for (size_t at = 0; at < given.instance_count; ++at) {
        const mmcaf_instance &one = given.instances[at];
        require(one.sop_class_uid, "mmcaf_instance.sop_class_uid");
        require(one.sop_instance_uid, "mmcaf_instance.sop_instance_uid");
        if (one.frame < 0) {
            throw Error(MMCAF_USAGE, "mmcaf_instance.frame is " + std::to_string(one.frame) +
                                         "; frames count from 1, and 0 is that of a single-frame image.");
        }
        found.instances.push_back({text(one.sop_class_uid, "mmcaf_instance.sop_class_uid"),
                                   text(one.sop_instance_uid, "mmcaf_instance.sop_instance_uid"), one.frame});
    }
    found.header.images = found.instances;
    if (given.token_count != 0) {
        require(given.tokens, "mmcaf_answer_options.tokens");
        found.tokens.emplace(given.tokens, given.tokens + given.token_count);
    }
    found.asked.slices = span_of(given);
    found.asked.stride = given.stride;
    found.asked.allow_id_mismatch = given.allow_id_mismatch != 0;
    found.given.created = creation_time(maybe(given.created, "created"));
    if (given.stride != 0) found.given.depends_on.stride = given.stride;
    if (found.asked.slices) found.given.depends_on.slices = {given.first_slice, given.last_slice};
    found.given.depends_on.allow_id_mismatch = found.asked.allow_id_mismatch;
    found.given.strict = given.strict != 0;
    return found;
}

Volume volume_given(const mmcaf_volume *volume, mmcaf_slice_function next, void *user) {
    require(volume, "volume");
    const mmcaf_volume given = taken(volume, "mmcaf_volume", VOLUME_SIZES, mmcaf_volume_init);
    check_type(given.type, given.type == MMCAF_INT16 || given.type == MMCAF_FLOAT32, "mmcaf_volume.type",
               "neither MMCAF_INT16 nor MMCAF_FLOAT32");
    if (next == nullptr) require(given.values, "mmcaf_volume.values");
    if (next != nullptr && given.values != nullptr) {
        throw Error(MMCAF_USAGE, "mmcaf_volume.values is not NULL, though the slices come from a callback.",
                    {{"Hand over one of both.", "", "", ""}});
    }
    Volume found;
    found.input = text(given.input, "mmcaf_volume.input");
    size_t values = 1;
    for (size_t axis = 0; axis < 3; ++axis) {
        found.shape[axis] = given.shape[axis];
        if (given.shape[axis] != 0 && values > MOST_VALUES / given.shape[axis]) {
            throw Error(MMCAF_USAGE, "mmcaf_volume.shape has more voxels than any memory holds.",
                        {{"Give slices, rows and columns.", "", "", ""}});
        }
        values *= given.shape[axis];
        found.spacing_mm[axis] = given.spacing_mm[axis];
        found.origin_mm[axis] = given.origin_mm[axis];
        for (size_t part = 0; part < 3; ++part) found.direction[axis][part] = given.direction[3 * axis + part];
    }
    found.whole = given.type == MMCAF_INT16;
    if (next == nullptr) {
        found.whole_values = found.whole ? static_cast<const int16_t *>(given.values) : nullptr;
        found.real_values = found.whole ? nullptr : static_cast<const float *>(given.values);
    } else {
        found.source = [next, user](size_t index, void *slice) {
            if (call_back("next", next, user, index, slice) != 0) {
                throw Error(MMCAF_CANCELLED, "Ended by the caller, who gave no slice " + std::to_string(index + 1) + ".");
            }
        };
    }
    found.intensity = intensity_of(given.intensity);
    return found;
}

std::vector<Volume> volumes_given(const mmcaf_volume *volumes, size_t count) {
    if (count == 0) return {};
    require(volumes, "volumes");
    const size_t size = volumes->struct_size;
    std::vector<Volume> found;
    for (size_t at = 0; at < count; ++at) {
        const auto *volume = reinterpret_cast<const mmcaf_volume *>(reinterpret_cast<const char *>(volumes) + at * size);
        found.push_back(volume_given(volume, nullptr, nullptr));
        if (volume->struct_size == size) continue;
        throw Error(MMCAF_USAGE, "volumes: struct_size is " + std::to_string(volume->struct_size) + " of one and " +
                                     std::to_string(size) + " of the first.",
                    {{"Fill all with mmcaf_volume_default of one header.", "", "", ""}});
    }
    return found;
}

Tensor tensor_given(const mmcaf_tensor &tensor) {
    require(tensor.name, "mmcaf_tensor.name");
    require(tensor.data, "mmcaf_tensor.data");
    require(tensor.shape, "mmcaf_tensor.shape");
    const std::string name = text(tensor.name, "mmcaf_tensor.name");
    check_type(tensor.type, tensor.type == MMCAF_FLOAT32 || tensor.type == MMCAF_INT64, "mmcaf_tensor.type",
               "neither MMCAF_FLOAT32 nor MMCAF_INT64");
    if (tensor.rank > MOST_AXES) {
        throw Error(MMCAF_USAGE, "The input " + name + " has " + std::to_string(tensor.rank) + " axes.");
    }
    Tensor found{name, {tensor.shape, tensor.shape + tensor.rank}, tensor.type == MMCAF_INT64, {}, {}};
    size_t values = 1;
    for (const int64_t size : found.shape) {
        if (size < 1 || values > MOST_VALUES / static_cast<size_t>(size)) {
            throw Error(MMCAF_USAGE, "The input " + name + " has an axis of " + std::to_string(size) + ".");
        }
        values *= static_cast<size_t>(size);
    }
    if (found.whole) {
        const auto *data = static_cast<const int64_t *>(tensor.data);
        found.integers.assign(data, data + values);
    } else {
        const auto *data = static_cast<const float *>(tensor.data);
        found.reals.assign(data, data + values);
    }
    return found;
}

}  // namespace mmcaf
