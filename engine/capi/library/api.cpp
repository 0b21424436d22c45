// The functions of mmcaf.h: each translates what it is handed, and whatever is thrown into a code.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "call.hpp"
#include "opened.hpp"

using namespace mmcaf;

struct mmcaf_result {
    Result result;
    std::string json;
    std::optional<std::string> decision;
};

struct mmcaf_tensor_list {
    std::vector<Tensor> tensors;
    std::vector<mmcaf_tensor> shown;
};

namespace {

std::optional<std::string> record_given(const char *json) {
    return json == nullptr ? std::nullopt : std::optional<std::string>(json);
}

mmcaf_result *shown(Result result) {
    auto made = std::make_unique<mmcaf_result>();
    made->json = to_json(result);
    if (result.score.findings.empty()) made->decision = result.score.verdict;
    made->result = std::move(result);
    return made.release();
}

// Never beyond what the caller says the struct takes.
template <class Struct> void fill(Struct *into, const Struct &defaults, size_t size) {
    if (into == nullptr) return;
    std::memset(static_cast<void *>(into), 0, size);
    std::memcpy(static_cast<void *>(into), &defaults, std::min(size, sizeof defaults));
}

// Answers into what the caller wants to have filled, which is NULL where that fails.
template <class Answer> mmcaf_code answered(mmcaf_result **result, const Answer &answer) {
    return called([&] {
        require(result, "result");
        *result = nullptr;
        *result = shown(answer());
    });
}

}  // namespace

const char *mmcaf_version(void) { return MMCAF_VERSION; }

const mmcaf_error *mmcaf_last_error(void) { return last_error(); }

void mmcaf_open_options_init(mmcaf_open_options *options, size_t size) {
    mmcaf_open_options defaults{};
    defaults.struct_size = size;
    defaults.precision = "auto";
    fill(options, defaults, size);
}

void mmcaf_volume_init(mmcaf_volume *volume, size_t size) {
    mmcaf_volume defaults{};
    defaults.struct_size = size;
    defaults.type = MMCAF_INT16;
    defaults.direction[2] = defaults.direction[4] = defaults.direction[6] = 1;  // toward head, back and left
    fill(volume, defaults, size);
}

void mmcaf_answer_options_init(mmcaf_answer_options *options, size_t size) {
    mmcaf_answer_options defaults{};
    defaults.struct_size = size;
    defaults.patient_age_years = defaults.patient_weight_kg = std::numeric_limits<double>::quiet_NaN();
    fill(options, defaults, size);
}

mmcaf_code mmcaf_open(const char *bundle, const mmcaf_open_options *options, mmcaf_network **network) {
    return called([&] {
        require(network, "network");
        *network = nullptr;
        require(bundle, "bundle");
        *network = add_network(std::make_shared<OpenNetwork>(text_given(bundle, "bundle"), opening_given(options)));
    });
}

void mmcaf_free_network(mmcaf_network *network) {
    called([&] {
        if (const std::shared_ptr<OpenNetwork> found = remove_network(network)) found->close();
    });
}

const char *mmcaf_network_json(const mmcaf_network *network) {
    return told<const char *>([&] { return network_of(network)->json().c_str(); }, nullptr);
}

mmcaf_code mmcaf_answer_volumes(mmcaf_network *network, const mmcaf_volume *volumes, size_t count, const char *record_json,
                                const mmcaf_answer_options *options, mmcaf_result **result) {
    return answered(result, [&] {
        const auto found = network_of(network);
        return found->answer(volumes_given(volumes, count), record_given(record_json), answering_given(options));
    });
}

mmcaf_code mmcaf_answer_volume(mmcaf_network *network, const mmcaf_volume *volume, const char *record_json,
                               const mmcaf_answer_options *options, mmcaf_result **result) {
    return answered(result, [&] {
        const auto found = network_of(network);
        std::vector<Volume> given{volume_given(volume, nullptr, nullptr)};
        return found->answer(std::move(given), record_given(record_json), answering_given(options));
    });
}

mmcaf_code mmcaf_answer_series(mmcaf_network *network, const mmcaf_volume *series, mmcaf_slice_function next, void *user,
                               const char *record_json, const mmcaf_answer_options *options, mmcaf_result **result) {
    return answered(result, [&] {
        const auto found = network_of(network);
        if (next == nullptr) throw Error(MMCAF_USAGE, "next is NULL.", {{"Hand over what gives the slices.", "", "", ""}});
        std::vector<Volume> given{volume_given(series, next, user)};
        return found->answer(std::move(given), record_given(record_json), answering_given(options));
    });
}

mmcaf_code mmcaf_answer_image(mmcaf_network *network, const float *plane, size_t rows, size_t columns,
                              const char *record_json, const mmcaf_answer_options *options, mmcaf_result **result) {
    return answered(result, [&] {
        const auto found = network_of(network);
        require(plane, "plane");
        if (rows == 0 || columns == 0 || rows > 4096 || columns > 4096) {
            throw Error(MMCAF_STUDY, "The image is " + std::to_string(rows) + " x " + std::to_string(columns) +
                                         " pixels; 1 to 4096 are expected.");
        }
        const Plane given{rows, columns, {plane, plane + rows * columns}};
        return found->answer_image(given, record_given(record_json), answering_given(options));
    });
}

size_t mmcaf_result_label_count(const mmcaf_result *result) {
    return result == nullptr ? 0 : result->result.probabilities.size();
}

const char *mmcaf_result_label(const mmcaf_result *result, size_t index) {
    return index < mmcaf_result_label_count(result) ? result->result.probabilities[index].first.c_str() : nullptr;
}

double mmcaf_result_probability(const mmcaf_result *result, size_t index) {
    return index < mmcaf_result_label_count(result) ? result->result.probabilities[index].second
                                                    : std::numeric_limits<double>::quiet_NaN();
}

const char *mmcaf_result_decision(const mmcaf_result *result) {
    return result == nullptr || !result->decision ? nullptr : result->decision->c_str();
}

const char *mmcaf_result_json(const mmcaf_result *result) { return result == nullptr ? nullptr : result->json.c_str(); }

size_t mmcaf_result_warning_count(const mmcaf_result *result) {
    return result == nullptr ? 0 : result->result.warnings.size();
}

const char *mmcaf_result_warning(const mmcaf_result *result, size_t index) {
    return index < mmcaf_result_warning_count(result) ? result->result.warnings[index].c_str() : nullptr;
}

void mmcaf_free_result(mmcaf_result *result) { delete result; }

mmcaf_code mmcaf_run(mmcaf_network *network, const mmcaf_tensor *inputs, size_t count, mmcaf_tensor_list **outputs) {
    return called([&] {
        require(outputs, "outputs");
        *outputs = nullptr;
        const auto found = network_of(network);
        if (count != 0) require(inputs, "inputs");
        std::vector<Tensor> given;
        for (size_t at = 0; at < count; ++at) given.push_back(tensor_given(inputs[at]));
        auto made = std::make_unique<mmcaf_tensor_list>();
        made->tensors = found->run(given);
        for (const Tensor &one : made->tensors) {
            const void *data = one.whole ? static_cast<const void *>(one.integers.data()) : one.reals.data();
            made->shown.push_back(
                {one.name.c_str(), one.whole ? MMCAF_INT64 : MMCAF_FLOAT32, data, one.shape.data(), one.shape.size()});
        }
        *outputs = made.release();
    });
}

size_t mmcaf_tensor_count(const mmcaf_tensor_list *tensors) { return tensors == nullptr ? 0 : tensors->shown.size(); }

const mmcaf_tensor *mmcaf_tensor_at(const mmcaf_tensor_list *tensors, size_t index) {
    return index < mmcaf_tensor_count(tensors) ? &tensors->shown[index] : nullptr;
}

void mmcaf_free_tensors(mmcaf_tensor_list *tensors) { delete tensors; }
