// manifest.json as far as an answer depends on it; names, units and defaults are those of mmcaf_engine/manifest, where each
// field is explained. What only the workshop reads is checked by its form and not kept.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace mmcaf {

// By name, in the manifest's order.
template <class Value> using Named = std::vector<std::pair<std::string, Value>>;

template <class Value> const Value *find(const Named<Value> &entries, const std::string &name) {
    for (const auto &[key, value] : entries) {
        if (key == name) return &value;
    }
    return nullptr;
}

struct FileEntry {
    std::string sha256;
    uint64_t size = 0;
};

constexpr int64_t kBatchAxis = -1, kLengthAxis = -2;  // "N" and "L" of a shape

struct TensorSpec {
    std::string name, kind, dtype = "float32";
    std::vector<int64_t> shape;
    bool optional = false;
};

struct NetworkSpec {
    std::string name;
    bool one_case = false;  // batch: 1
};

enum class Intensity { hounsfield, rescaled, stored };

struct Step {
    enum class Kind { resize, center_crop, clip_scale, subtract, resize_volume, standardise };
    enum class Rounding { none, half_even, opencv };
    Kind kind = Kind::resize;
    Rounding rounding = Rounding::none;
    size_t rows = 0, columns = 0;
    double lower = 0, upper = 0, value = 0;
    std::array<size_t, 3> size{};  // in the order of `axes`
};

struct WindowSpec {
    int64_t slices = 0, stride = 0;
    double pad_value = 0;
    bool trained_on_lesion = false;
    std::string lesion_field;  // or empty
    bool order_by_axes = false;
};

struct PreprocessingSpec {
    std::string modality;
    Intensity intensity = Intensity::hounsfield;
    std::optional<WindowSpec> windows;
    std::vector<Step> steps;
    bool accept_oblique = false;
    std::string axes = "SPL";
};

struct ImageSpec {
    std::vector<std::string> modality{"DX", "CR"};
    std::string view = "frontal";
    size_t rows = 0, columns = 0;
    size_t channels = 1;
    std::vector<double> mean, std;
};

// A value of a record in its own terms: a number, or a category.
using RecordValue = std::variant<double, std::string>;

struct Cut {
    double value = 0;
    bool above = true;
};

struct TableField {
    enum class Kind { category, number };
    Kind kind = Kind::category;
    std::string name;
    std::optional<Cut> cut;
    std::optional<RecordValue> imputed;  // where a record without the field is not refused
    std::string dicom;                   // PatientSex, PatientAge, PatientWeight or empty
    Named<double> categories;
    Named<std::string> synonyms;
    double divisor = 1;
    std::string unit;
    Named<double> units;
    double minimum = 0, maximum = 0;
    std::optional<double> lower, upper, mean, std;
};

struct TableSpec {
    std::vector<TableField> fields;
    std::vector<std::string> ignored;
};

struct PartFiles {
    std::string text, rest;
};

struct ReportParts {
    TensorSpec words;
    Named<PartFiles> models;  // by precision
};

struct TextSpec {
    std::string vocabulary = "vocabulary.txt";
    int64_t max_tokens = 0;
    std::vector<int64_t> buckets;
    std::vector<std::string> fields{"report"};
    bool refuse_missing = true;
    std::optional<ReportParts> parts;
};

struct BodyPartRule {
    std::vector<std::string> accepted, warned, refused;
};

struct Code {
    std::string scheme, value, meaning;
};

struct AggregationSpec {
    enum class Method { max, mean, logistic_regression };
    Method method = Method::max;
    std::vector<double> coefficients;
    double intercept = 0;
};

struct RiskSpec {
    std::string label, source;
    std::vector<double> cuts;
    std::vector<std::string> names;
};

struct BranchSpec {
    std::string output, title;
};

struct EnsembleSpec {
    size_t members = 0;
    std::optional<double> spread_bound;
};

struct AccuracyBound {
    double probability_difference = 0, flips = 0, auroc_loss = 0;
};

struct Provenance {
    std::string checkpoint_sha256;
    Named<std::string> repairs;  // name -> description
};

struct Manifest {
    int format_version = 2;
    std::string name, version;
    std::optional<int64_t> release;
    NetworkSpec network;
    std::vector<TensorSpec> inputs, outputs;
    Named<std::string> models;  // precision -> file
    std::optional<PreprocessingSpec> preprocessing;
    std::optional<ImageSpec> image;
    std::vector<std::string> series;  // volume inputs that have rules
    std::optional<TableSpec> table;
    std::optional<TextSpec> text;
    std::optional<BodyPartRule> body_part;
    bool identity_required = false;
    std::vector<std::string> labels;
    Named<Code> label_codes;
    std::string activation = "sigmoid";  // sigmoid, softmax, independent, or another package's
    AggregationSpec aggregation;
    std::optional<double> threshold;
    std::vector<double> thresholds;
    std::vector<RiskSpec> risk_levels;
    std::optional<EnsembleSpec> ensemble;
    std::vector<BranchSpec> branch_scores;
    Named<AccuracyBound> accuracy_bounds;
    Provenance provenance;
    std::string licence, intended_use;
    bool demonstration = false;
    Named<FileEntry> files;

    const TensorSpec &score() const { return outputs.front(); }

    // The first input of a kind; null where there is none.
    const TensorSpec *input(const std::string &kind) const {
        for (const TensorSpec &spec : inputs) {
            if (spec.kind == kind) return &spec;
        }
        return nullptr;
    }

    std::vector<std::string> volumes() const {
        std::vector<std::string> names;
        for (const TensorSpec &spec : inputs) {
            if (spec.kind == "volume") names.push_back(spec.name);
        }
        return names;
    }

    // Which DICOM modalities a study may be of; none where the network reads no study.
    std::vector<std::string> modalities() const {
        if (image) return image->modality;
        return preprocessing ? std::vector<std::string>{preprocessing->modality} : std::vector<std::string>();
    }

    // The field of the record that may name the slices of a lesion, or empty.
    std::string lesion_field() const {
        return preprocessing && preprocessing->windows ? preprocessing->windows->lesion_field : std::string();
    }
};

}  // namespace mmcaf
