#include "manifest_checks.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "fields.hpp"
#include "text.hpp"

namespace mmcaf {
namespace {

using Shapes = std::vector<int64_t>;

void require(bool holds, const std::string &what, const std::string &where = "") {
    if (!holds) throw Invalid{where, "Value error, " + what};
}

bool is_any(const std::string &kind, std::initializer_list<const char *> among) {
    return std::any_of(among.begin(), among.end(), [&](const char *one) { return kind == one; });
}

// Whether every file system takes one part of a path as it is, and none as something else.
bool is_plain(const std::string &part) {
    if (part.empty() || part.back() == '.' || part.back() == ' ') return false;
    if (part.find_first_of("\\:<>\"|?*") != std::string::npos) return false;
    if (std::any_of(part.begin(), part.end(), [](char one) { return static_cast<uint8_t>(one) < 32 || one == 127; })) return false;
    std::string stem = part.substr(0, part.find('.'));
    std::transform(stem.begin(), stem.end(), stem.begin(), [](unsigned char one) { return std::toupper(one); });
    stem.erase(stem.find_last_not_of(' ') + 1);
    const bool port = stem.size() == 4 && (stem.compare(0, 3, "COM") == 0 || stem.compare(0, 3, "LPT") == 0) &&
                      stem[3] >= '0' && stem[3] <= '9';
    return !port && !is_any(stem, {"CON", "PRN", "AUX", "NUL"});
}

bool is_plain_name(const std::string &name) {
    if (name.size() > 200) return false;
    for (size_t at = 0; at <= name.size();) {
        const size_t end = std::min(name.find('/', at), name.size());
        if (!is_plain(name.substr(at, end - at))) return false;
        at = end + 1;
    }
    return true;
}

void check_files(const Manifest &manifest) {
    std::vector<std::string> named{"golden.npz"};
    for (const auto &[precision, file] : manifest.models) named.push_back(file);
    if (manifest.text) {
        named.push_back(manifest.text->vocabulary);
        for (const auto &[precision, files] : manifest.text->parts ? manifest.text->parts->models : Named<PartFiles>()) {
            require(find(manifest.models, precision) != nullptr,
                    "text.parts are of " + precision + ", of which models has no network");
            named.insert(named.end(), {files.text, files.rest});
        }
    }
    for (const std::string &file : named) {
        require(find(manifest.files, file) != nullptr, "files does not list " + file);
    }
    require(find(manifest.models, "fp32") != nullptr, "models has no fp32 entry");
    require(manifest.files.size() <= 1000,
            "files lists " + std::to_string(manifest.files.size()) + "; at most 1000 are expected");
    std::set<std::string> names;
    for (const auto &[name, entry] : manifest.files) {
        require(names.insert(casefold(name)).second, "files lists two names that differ in case alone");
        require(is_plain_name(name), "file name " + quoted(name) + " is not a plain name");
        require(!is_any(casefold(name), {"manifest.json", "manifest.json.minisig"}),
                "files lists " + name + ", which seals them");
    }
}

void check_inputs(const Manifest &manifest) {
    std::set<std::string> names;
    std::map<std::string, int> kinds;
    for (const std::vector<TensorSpec> *tensors : {&manifest.inputs, &manifest.outputs}) {
        for (const TensorSpec &spec : *tensors) require(names.insert(spec.name).second, "two inputs or outputs share a name");
    }
    require(!manifest.inputs.empty() && !manifest.outputs.empty(), "inputs and outputs must hold one at least");
    for (const TensorSpec &spec : manifest.inputs) {
        require(is_any(spec.kind, {"volume", "image", "tokens", "token_mask", "table"}),
                "no input can be of the kind " + spec.kind);
        require(++kinds[spec.kind] == 1 || spec.kind == "volume", "there is more than one input of the kind " + spec.kind);
    }
    require(kinds.count("volume") == 0 || kinds.count("image") == 0, "inputs must hold volumes or one image, not both");
    const auto together = [&](const char *kind, bool there, const char *part) {
        require((kinds.count(kind) != 0) == there,
                std::string("inputs of the kind ") + kind + " and the manifest's " + part + " must come together");
    };
    together("volume", manifest.preprocessing.has_value(), "preprocessing");
    together("image", manifest.image.has_value(), "image");
    together("table", manifest.table.has_value(), "table");
    together("tokens", manifest.text.has_value(), "text");
    together("token_mask", manifest.text.has_value(), "text");
}

size_t slice_axis(const PreprocessingSpec &spec) { return spec.axes.find_first_of("SI"); }

void check_volumes(const Manifest &manifest) {
    const std::vector<std::string> volumes = manifest.volumes();
    require(manifest.series == volumes || (manifest.series.empty() && volumes.size() <= 1),
            "series must tell which series each volume input is, in their order");
    if (!manifest.preprocessing) return;
    const PreprocessingSpec &spec = *manifest.preprocessing;
    require(!spec.windows || volumes.size() == 1,
            "windows are of one series; a network of several takes each as a whole (windows: null)");
    for (const TensorSpec &input : manifest.inputs) {
        if (input.kind != "volume") continue;
        require(input.shape.size() == 5 && input.shape[1] == 1, "the volume input must be [N, 1, three axes]");
        require(!spec.windows || input.shape[2 + slice_axis(spec)] == spec.windows->slices,
                "the volume input's depth differs from preprocessing.windows.slices");
        for (const Step &step : spec.steps) {
            if (step.kind != Step::Kind::resize_volume) continue;
            for (size_t axis = 0; axis < 3; ++axis) {
                require(input.shape[2 + axis] == static_cast<int64_t>(step.size[axis]),
                        "the input " + input.name + " is not of the size that resize_volume gives");
            }
        }
    }
}

void check_shapes(const Manifest &manifest) {
    if (const TensorSpec *input = manifest.input("image")) {
        const ImageSpec &image = *manifest.image;
        const Shapes wanted{kBatchAxis, static_cast<int64_t>(image.channels), static_cast<int64_t>(image.rows),
                            static_cast<int64_t>(image.columns)};
        require(input->shape == wanted, "the input " + input->name + " has not the channels and size of image");
    }
    if (const TensorSpec *input = manifest.input("table")) {
        const std::vector<TableField> &fields = manifest.table->fields;
        const auto cuts = std::count_if(fields.begin(), fields.end(), [](const TableField &one) { return one.cut.has_value(); });
        const int64_t width = static_cast<int64_t>(fields.size()) + cuts;
        require(input->shape == Shapes{kBatchAxis, width},
                "the table input's width differs from the number of table fields and cuts, " + std::to_string(width));
        std::set<std::string> names;
        for (const TableField &field : fields) require(names.insert(field.name).second, "two fields share a name", "table");
        for (const std::string &name : manifest.table->ignored) {
            require(names.count(name) == 0, "fields that are read cannot be ignored: " + name, "table");
        }
    }
}

void check_labels(const Manifest &manifest) {
    const std::vector<std::string> &labels = manifest.labels;
    require(!labels.empty(), "labels must hold one at least");
    require(std::set<std::string>(labels.begin(), labels.end()).size() == labels.size(), "two labels share a name");
    const std::string &activation = manifest.activation;
    require(is_any(activation, {"sigmoid", "softmax", "independent"}),
            "unknown output decision " + quoted(activation) +
                " as activation: it is none of sigmoid, softmax, independent, which are those of this library");
    require(activation != "sigmoid" || labels.size() == 2, "activation sigmoid tells two labels apart; softmax is for more");
    require(activation != "softmax" || labels.size() >= 2,
            "activation softmax tells two labels or more apart; independent can be of one");
    require((activation == "sigmoid") == manifest.threshold.has_value(), "threshold belongs to activation sigmoid, which needs it");
    require(manifest.thresholds.size() == (activation == "independent" ? labels.size() : 0),
            "thresholds belongs to activation independent, which needs one for each label");
    std::vector<double> limits = manifest.thresholds;
    if (manifest.threshold) limits.push_back(*manifest.threshold);
    for (const double limit : limits) require(limit > 0 && limit < 1, "a threshold lies between 0 and 1");
    const auto known = [&](const std::string &label) { return std::find(labels.begin(), labels.end(), label) != labels.end(); };
    for (const auto &[label, code] : manifest.label_codes) {
        require(known(label), "label_codes names " + label + ", which is no label");
    }
    std::set<std::string> levels;
    for (const RiskSpec &risk : manifest.risk_levels) {
        require(known(risk.label), "risk_levels names " + risk.label + ", which is no label");
        require(levels.insert(risk.label).second, "risk_levels has two entries of one label");
    }
    if (manifest.aggregation.method == AggregationSpec::Method::logistic_regression) {
        require(activation == "sigmoid", "aggregation logistic_regression is of one logit, activation sigmoid");
        require(manifest.preprocessing && manifest.preprocessing->windows,
                "aggregation logistic_regression is over the windows of a study; this network takes none");
    }
}

void check_outputs(const Manifest &manifest) {
    const char *const order[] = {"score", "attention", "branch_score", "diagnostic"};
    size_t at = 0;
    std::vector<std::string> branches;
    for (const TensorSpec &spec : manifest.outputs) {
        while (at < 4 && spec.kind != order[at]) ++at;
        require(at < 4 && (at != 0 || &spec == &manifest.outputs.front()),
                "outputs must hold one score, attention after it, and branch_score last, but for diagnostic ones");
        if (spec.kind == "branch_score") branches.push_back(spec.name);
    }
    Shapes wanted{kBatchAxis};
    if (manifest.ensemble) wanted.push_back(static_cast<int64_t>(manifest.ensemble->members));
    wanted.push_back(manifest.activation == "sigmoid" ? 1 : static_cast<int64_t>(manifest.labels.size()));
    require(manifest.outputs.front().kind == "score" && manifest.score().shape == wanted,
            "the output " + manifest.score().name + " has not the shape of these labels and members");
    require(branches.size() == manifest.branch_scores.size(), "branch_scores must tell what each output of this kind is of");
    for (size_t index = 0; index < branches.size(); ++index) {
        require(manifest.branch_scores[index].output == branches[index],
                "branch_scores must tell what each output of this kind is of, in their order");
    }
    for (const TensorSpec &spec : manifest.outputs) {
        require(spec.kind != "branch_score" || spec.shape == wanted, "the output " + spec.name + " has not the score's shape");
    }
}

}  // namespace

void check_axes(const TensorSpec &spec, const std::string &where) {
    const Shapes &shape = spec.shape;
    require(!shape.empty() && shape[0] == kBatchAxis && std::count(shape.begin(), shape.end(), kBatchAxis) == 1,
            "the first axis, and only the first, must be \"N\"", where);
    const bool diagnostic = spec.kind == "diagnostic";
    require(!spec.optional || diagnostic || is_any(spec.kind, {"attention", "branch_score"}),
            "optional belongs to outputs other than the score", where);
    require(!diagnostic || (spec.optional && shape.size() == 2), "a diagnostic must be optional, and [N, values]", where);
    const Shapes pieces{kBatchAxis, kLengthAxis};
    if (is_any(spec.kind, {"tokens", "token_mask"})) {
        require(shape == pieces && spec.dtype == "int64", spec.kind + " must be int64 [\"N\", \"L\"]", where);
        return;
    }
    require(spec.dtype == "float32", spec.kind + " must be float32", where);
    const bool long_axis = std::count(shape.begin(), shape.end(), kLengthAxis) != 0;
    require(!long_axis || spec.kind == "words" || (spec.kind == "attention" && shape == pieces),
            "the axis \"L\" belongs to tokens, token_mask, and attention [\"N\", \"L\"] to word pieces", where);
    double values = 1;
    for (const int64_t axis : shape) values *= static_cast<double>(std::max<int64_t>(axis, 1));
    require(values <= 4e9, "the shape has more values than any memory holds", where);
}

void check_preprocessing(const PreprocessingSpec &spec, const std::string &where) {
    const auto one_of = [&](const char *letters) {
        return std::count_if(spec.axes.begin(), spec.axes.end(),
                             [&](char one) { return one == letters[0] || one == letters[1]; }) == 1;
    };
    require(spec.axes.size() == 3 && one_of("LR") && one_of("AP") && one_of("SI"),
            quoted(spec.axes) + " must hold one of L and R, one of A and P, and one of S and I", where + ".axes");
    require(!spec.accept_oblique || spec.modality == "MR", "oblique slices are accepted of MR, not of CT", where);
    int volumes = 0;
    bool whole = false;
    for (const Step &step : spec.steps) {
        const bool single = step.kind == Step::Kind::resize || step.kind == Step::Kind::center_crop;
        const bool of_volume = step.kind == Step::Kind::resize_volume || step.kind == Step::Kind::standardise;
        volumes += step.kind == Step::Kind::resize_volume;
        whole = whole || of_volume;
        require(!(single && whole), "a step of single slices must come before those of whole volumes", where);
        require(!(of_volume && spec.windows), "a step is of whole volumes; it needs windows to be null", where);
    }
    require(spec.windows.has_value() == (volumes == 0) && volumes <= 1,
            "either windows or one resize_volume step must say how deep the network's input is", where);
}

void check_scaling(const TableField &field, const std::string &scaling, const std::string &where) {
    const bool limits = field.lower && field.upper, moments = field.mean && field.std;
    const bool none_of_limits = !field.lower && !field.upper, none_of_moments = !field.mean && !field.std;
    require(scaling == "min_max" ? limits && none_of_moments : moments && none_of_limits,
            "scaling " + scaling + " needs its two numbers, and neither of the other's", where);
    require(!limits || *field.lower < *field.upper, "lower must be below upper", where);
    require(!moments || *field.std > 0, "std must be above 0", where);
    require(field.minimum < field.maximum, "minimum must be below maximum", where);
}

void check_field(const TableField &field, const std::string &where) {
    if (field.kind == TableField::Kind::category) {
        require(!field.categories.empty() && field.divisor > 0, "a category needs categories, and a divisor above 0", where);
        for (const auto &[synonym, category] : field.synonyms) {
            require(find(field.categories, category) != nullptr, "synonyms lead to the unknown category " + quoted(category), where);
        }
        const std::string *imputed = field.imputed ? std::get_if<std::string>(&*field.imputed) : nullptr;
        require(!field.imputed || (imputed && find(field.categories, *imputed) != nullptr), "the imputed value is no category", where);
        return;
    }
    const double *imputed = field.imputed ? std::get_if<double>(&*field.imputed) : nullptr;
    require(!field.imputed || (imputed && *imputed >= field.minimum && *imputed <= field.maximum),
            "the imputed value is outside the plausible range", where);
}

void check_consistent(const Manifest &manifest) {
    check_files(manifest);
    check_inputs(manifest);
    check_volumes(manifest);
    check_shapes(manifest);
    check_labels(manifest);
    check_outputs(manifest);
}

}  // namespace mmcaf
