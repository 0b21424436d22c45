// What reads bytes of unknown origin, given any bytes: it takes them or refuses them with an Error of the right kind, and
// nothing else. tests/capi/fuzz looks for bytes of which that is not true; the tests read its corpus again.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bundle.hpp"
#include "external_data.hpp"
#include "json.hpp"
#include "npz.hpp"
#include "record.hpp"
#include "signature.hpp"
#include "texts.hpp"
#include "zip.hpp"

namespace {

using namespace mmcaf;

constexpr size_t MOST_UNPACKED = 1 << 20;

// A network whose record has every kind of field, with every way to spell one.
const char *const MANIFEST = R"({
  "format_version": 2, "name": "fuzzed", "network": {"name": "n", "config": {}, "parameters": 1},
  "inputs": [{"name": "volume", "kind": "volume", "shape": ["N", 1, 2, 4, 4]},
             {"name": "table", "kind": "table", "shape": ["N", 4]}],
  "outputs": [{"name": "logit", "kind": "score", "shape": ["N", 1]}],
  "models": {"fp32": "model.onnx"},
  "preprocessing": {"modality": "CT", "intensity": "hounsfield", "steps": [],
                    "windows": {"slices": 2, "stride": 1, "pad_value": -1000, "trained_on": "lesion",
                                "lesion_field": "lesion_slices"}},
  "table": {"ignored": ["note"], "fields": [
    {"kind": "category", "name": "sex", "description": "Sex", "categories": {"M": 1, "F": 0}, "synonyms": {"1": "M"},
     "dicom": "PatientSex"},
    {"kind": "number", "name": "age", "description": "Age", "unit": "years", "units": {"mo": 0.0833}, "minimum": 0,
     "maximum": 120, "lower": 20, "upper": 90, "cut": {"value": 60.5, "direction": "above"}, "dicom": "PatientAge"},
    {"kind": "number", "name": "weight", "description": "Weight", "unit": "kg", "minimum": 1, "maximum": 400,
     "scaling": "standardise", "mean": 70, "std": 12, "missing": {"policy": "impute", "value": 70}}]},
  "labels": ["a", "b"], "aggregation": {"method": "max"}, "threshold": 0.5,
  "provenance": {"checkpoint_sha256": "0000000000000000000000000000000000000000000000000000000000000000",
                 "checkpoint_format": "f", "dead_keys_ignored": 0, "exporter": "e", "framework": "f", "opset": 18},
  "licence": "l", "intended_use": "i",
  "files": {"model.onnx": {"sha256": "0000000000000000000000000000000000000000000000000000000000000000", "size": 1},
            "golden.npz": {"sha256": "0000000000000000000000000000000000000000000000000000000000000000", "size": 1}}})";

[[noreturn]] void wrong(const char *what) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

template <class Read> void takes_or_refuses(mmcaf_code code, const Read &read) {
    try {
        read();
    } catch (const Error &failure) {
        if (failure.code != code) wrong("refused with another code");
        if (failure.problem.empty()) wrong("refused without a word");
        parse_json(failure.json(), "the error", MMCAF_BUG);
    }
}

std::string_view text_of(const uint8_t *data, size_t size) { return {reinterpret_cast<const char *>(data), size}; }

}  // namespace

MMCAF_TESTING_API int mmcaf_fuzz_manifest(const uint8_t *data, size_t size) {
    takes_or_refuses(MMCAF_BUNDLE, [&] {
        const Json document = parse_json(text_of(data, size), "fuzzed", MMCAF_BUNDLE);
        if (parse_json(print_json(document), "printed", MMCAF_BUNDLE, SIZE_MAX) != document) wrong("printed as another document");
        parse_manifest(document, "fuzzed");
    });
    takes_or_refuses(MMCAF_BUNDLE, [&] { Signature::read(text_of(data, size), "fuzzed"); });
    return 0;
}

MMCAF_TESTING_API int mmcaf_fuzz_record(const uint8_t *data, size_t size) {
    static const Manifest manifest = parse_manifest(parse_json(MANIFEST, "manifest", MMCAF_BUNDLE), "manifest");
    takes_or_refuses(MMCAF_RECORD, [&] {
        const std::vector<float> table = read_record(text_of(data, size), manifest).table();
        if (table.size() != 4) wrong("another width");
        for (const float value : table)
            if (!(value - value == 0)) wrong("a feature that is not finite");
    });
    return 0;
}

// Also what golden.npz holds and what a model says of other files, which are bytes of the same origin.
MMCAF_TESTING_API int mmcaf_fuzz_zip(const uint8_t *data, size_t size) {
    const std::vector<uint8_t> bytes(data, data + size);
    try {
        const Zip zip = Zip::of(bytes, 100);
        for (const Zip::Member &member : zip.members()) {
            if (zip.find(member.name) == nullptr) wrong("a member that is not found");
            try {
                const std::vector<uint8_t> content = zip.read(member, MOST_UNPACKED);
                if (content.size() != member.size) wrong("another size than the directory has");
                read_npy(member.name, content).doubles();
            } catch (const ZipFault &) {
            } catch (const std::invalid_argument &) {
            }
        }
    } catch (const ZipFault &) {
    }
    try {
        external_locations(data, size);
    } catch (const std::invalid_argument &) {
    }
    return 0;
}
