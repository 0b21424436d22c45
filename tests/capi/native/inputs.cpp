// What the network would see of a study and a record that a test makes up, beside the same of the Python engine.

#include <cmath>
#include <cstring>
#include <limits>

#include "bundle.hpp"
#include "image.hpp"
#include "json.hpp"
#include "prepare.hpp"
#include "raw_case.hpp"
#include "text.hpp"
#include "texts.hpp"

namespace mmcaf {

namespace {

std::string text_of(const Json &object, const char *name) {
    const Json *found = object.find(name);
    return found == nullptr || found->is(Json::Kind::null) ? "" : found->text();
}

// A number, or one that JSON does not have, as a text.
double number_of(const Json &value) {
    if (!value.is(Json::Kind::text)) return value.number();
    const double infinite = std::numeric_limits<double>::infinity();
    return value.text() == "inf" ? infinite : value.text() == "-inf" ? -infinite : std::nan("");
}

std::optional<double> maybe_number(const Json &object, const char *name) {
    const Json *found = object.find(name);
    if (found == nullptr || found->is(Json::Kind::null)) return {};
    return number_of(*found);
}

std::optional<std::string> maybe_text(const Json &object, const char *name) {
    const Json *found = object.find(name);
    if (found == nullptr || found->is(Json::Kind::null)) return {};
    return found->text();
}

Vector vector_of(const Json &list) {
    return {number_of(list.list()[0]), number_of(list.list()[1]), number_of(list.list()[2])};
}

std::vector<SourceImage> images_of(const Json &object) {
    std::vector<SourceImage> images;
    for (const Json &one : object.find("images")->list()) {
        images.push_back({text_of(one, "class"), text_of(one, "uid"), static_cast<int>(one.find("frame")->integer())});
    }
    return images;
}

Volume volume_of(const Json &given, const void *values) {
    Volume volume;
    volume.input = text_of(given, "input");
    for (size_t axis = 0; axis < 3; ++axis) {
        volume.shape[axis] = static_cast<size_t>(given.find("shape")->list()[axis].integer());
        volume.direction[axis] = vector_of(given.find("direction")->list()[axis]);
    }
    volume.whole = text_of(given, "type") == "int16";
    volume.spacing_mm = vector_of(*given.find("spacing_mm"));
    volume.origin_mm = vector_of(*given.find("origin_mm"));
    const std::string intensity = text_of(given, "intensity");
    volume.intensity = intensity == "hounsfield" ? Intensity::hounsfield
                       : intensity == "rescaled" ? Intensity::rescaled
                                                 : Intensity::stored;
    volume.series_uid = text_of(given, "series_uid");
    volume.images = images_of(given);
    if (given.find("streamed")->truth()) {
        const size_t bytes = volume.shape[1] * volume.shape[2] * (volume.whole ? 2 : 4);
        volume.source = [values, bytes](size_t index, void *slice) {
            std::memcpy(slice, static_cast<const char *>(values) + index * bytes, bytes);
        };
    } else if (volume.whole) {
        volume.whole_values = static_cast<const int16_t *>(values);
    } else {
        volume.real_values = static_cast<const float *>(values);
    }
    return volume;
}

StudyHeader header_of(const Json &given) {
    StudyHeader header;
    header.patient = {maybe_text(given, "patient_id"), maybe_text(given, "sex"), maybe_number(given, "age"),
                      maybe_number(given, "weight")};
    header.modality = text_of(given, "modality");
    header.body_part = text_of(given, "body_part");
    header.study_uid = text_of(given, "study_uid");
    header.frame_of_reference_uid = text_of(given, "frame_of_reference_uid");
    return header;
}

Asked asked_of(const Json &request) {
    Asked asked;
    asked.stride = request.find("stride")->integer();
    asked.allow_id_mismatch = request.find("allow_id_mismatch")->truth();
    const Json &slices = *request.find("slices");
    if (!slices.is(Json::Kind::null)) asked.slices = SliceSpan{slices.list()[0].integer(), slices.list()[1].integer()};
    return asked;
}

std::string hexadecimal(const void *bytes, size_t count) {
    static const char *const kDigits = "0123456789abcdef";
    std::string text;
    for (size_t at = 0; at < count; ++at) {
        const unsigned char byte = static_cast<const unsigned char *>(bytes)[at];
        text += {kDigits[byte >> 4], kDigits[byte & 15]};
    }
    return text;
}

Json list_of(const std::vector<std::string> &texts) { return Json(Json::List(texts.begin(), texts.end())); }

template <class Numbers> Json numbers_of(const Numbers &numbers) {
    Json::List list;
    for (const auto number : numbers) list.emplace_back(number);
    return Json(std::move(list));
}

Json windows_of(const Prepared &prepared, const Manifest &manifest) {
    Json::List windows;
    for (size_t at = 0; at < prepared.size(); ++at) {
        Json::Object inputs;
        for (const Tensor &tensor : prepared.inputs(at, manifest)) {
            Json::Object one;
            one.emplace_back("shape", numbers_of(tensor.shape));
            one.emplace_back("whole", tensor.whole);
            one.emplace_back("bytes", tensor.whole ? hexadecimal(tensor.integers.data(), tensor.integers.size() * 8)
                                                   : hexadecimal(tensor.reals.data(), tensor.reals.size() * 4));
            inputs.emplace_back(tensor.name, std::move(one));
        }
        windows.emplace_back(std::move(inputs));
    }
    return Json(std::move(windows));
}

Json series_of(const Prepared &prepared) {
    Json::List all;
    for (const PreparedSeries &entry : prepared.series) {
        Json::Object one;
        Json::List directions, images;
        for (const Vector &axis : entry.placement.direction) directions.push_back(numbers_of(axis));
        for (const SourceImage &image : entry.facts.images) images.emplace_back(image.sop_instance_uid);
        one.emplace_back("input", entry.input);
        one.emplace_back("source", entry.source);
        one.emplace_back("spacing_mm", numbers_of(entry.placement.spacing_mm));
        one.emplace_back("origin_mm", numbers_of(entry.placement.origin_mm));
        one.emplace_back("direction", std::move(directions));
        one.emplace_back("images", std::move(images));
        one.emplace_back("before", static_cast<int64_t>(entry.windows.before));
        all.emplace_back(std::move(one));
    }
    return Json(std::move(all));
}

std::string told(const Prepared &prepared, const Manifest &manifest) {
    Json::Object found;
    found.emplace_back("windows", windows_of(prepared, manifest));
    found.emplace_back("starts", numbers_of(prepared.starts()));
    found.emplace_back("series", series_of(prepared));
    found.emplace_back("study_warnings", list_of(prepared.study_warnings()));
    found.emplace_back("remarks", list_of(prepared.remarks()));
    found.emplace_back("record_warnings", list_of(prepared.clinical.warnings));
    found.emplace_back("identity", prepared.clinical.identity);
    found.emplace_back("sha256", prepared.clinical.sha256 ? Json(*prepared.clinical.sha256) : Json());
    if (prepared.clinical.record) found.emplace_back("missing", list_of(prepared.clinical.record->missing));
    return print_json(Json(std::move(found)));
}

}  // namespace

// record_size: below 0 where there is no record. values: of each volume, or the plane's.
MMCAF_TESTING_API char *mmcaf_testing_prepare(const char *text, const char *record, int64_t record_size,
                                              const void *const *values) {
    return answered([&] {
        const Json request = parse_json(text, "request", MMCAF_BUG, 1 << 24);
        const Manifest manifest = parse_manifest(*request.find("manifest"), "bundle");
        const StudyHeader header = header_of(*request.find("header"));
        std::optional<std::string> given;
        if (record_size >= 0) given.emplace(record, static_cast<size_t>(record_size));
        std::optional<std::vector<int64_t>> tokens;
        if (const Json &ids = *request.find("tokens"); !ids.is(Json::Kind::null)) {
            tokens.emplace();
            for (const Json &id : ids.list()) tokens->push_back(id.integer());
        }
        std::optional<Vocabulary> vocabulary;
        if (manifest.text) vocabulary = read_vocabulary(text_of(request, "vocabulary"), manifest.text->vocabulary);
        const Vocabulary *known = vocabulary ? &*vocabulary : nullptr;
        if (const Json &size = *request.find("plane"); !size.is(Json::Kind::null)) {
            Plane plane;
            plane.reshape(static_cast<size_t>(size.list()[0].integer()), static_cast<size_t>(size.list()[1].integer()));
            std::memcpy(plane.values.data(), values[0], plane.values.size() * sizeof(float));
            return told(prepare_image(plane, given, tokens, manifest, known, header, asked_of(request)), manifest);
        }
        std::vector<Volume> volumes;
        for (const Json &volume : request.find("volumes")->list()) {
            volumes.push_back(volume_of(volume, values[volumes.size()]));
        }
        return told(prepare_volumes(volumes, given, tokens, manifest, known, header, asked_of(request)), manifest);
    });
}

// How near a bundle's raw case comes to what it was at export.
MMCAF_TESTING_API char *mmcaf_testing_raw_case(const char *bundle, const char *precision) {
    return answered([&] {
        const Bundle opened(bundle, std::nullopt);
        const Golden golden(opened.read(GOLDEN_NAME, uint64_t{1} << 28), opened.shown());
        std::optional<Vocabulary> vocabulary;
        if (const auto &text = opened.manifest().text) {
            const std::vector<uint8_t> bytes = opened.read(text->vocabulary, 1 << 24);
            vocabulary = read_vocabulary(std::string(bytes.begin(), bytes.end()), text->vocabulary);
        }
        const auto found = check_raw_case(opened.manifest(), golden, precision, vocabulary ? &*vocabulary : nullptr);
        Json::Object told;
        if (found) {
            told.emplace_back("windows", found->windows);
            told.emplace_back("features", found->features);
            told.emplace_back("probabilities", numbers_of(found->probabilities));
        }
        return print_json(Json(std::move(told)));
    });
}

// A text folded, and quoted.
MMCAF_TESTING_API char *mmcaf_testing_fold(const char *text) { return answered([&] { return fold(text); }); }

MMCAF_TESTING_API char *mmcaf_testing_quote(const char *text) { return answered([&] { return quoted(text); }); }

}  // namespace mmcaf
