#include "manifest.hpp"

#include <algorithm>

#include "bundle.hpp"
#include "fields.hpp"
#include "manifest_checks.hpp"
#include "manifest_inputs.hpp"

namespace mmcaf {
namespace {

const std::vector<std::string> PRECISIONS{"fp32", "fp16", "bf16", "int8", "int8-bf16"};

void check_precision(const std::string &name, const std::string &where) {
    if (std::find(PRECISIONS.begin(), PRECISIONS.end(), name) == PRECISIONS.end()) {
        throw Invalid{where, "Input should be 'fp32', 'fp16', 'bf16', 'int8' or 'int8-bf16'"};
    }
}

std::string sha256_of(Fields &fields, const char *name) {
    const std::string found = fields.text(name);
    if (found.size() != 64 || found.find_first_not_of("0123456789abcdef") != std::string::npos) {
        throw Invalid{fields.path(name), "String should match pattern '^[0-9a-f]{64}$'"};
    }
    return found;
}

TensorSpec tensor_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    TensorSpec spec;
    spec.name = fields.text("name", 1);
    spec.kind = fields.choice("kind", {"volume", "image", "tokens", "token_mask", "table", "score", "attention",
                                       "branch_score", "diagnostic", "words", "cotangent", "map"});
    spec.dtype = fields.choice_or("dtype", {"float32", "int64"}, "float32");
    spec.optional = fields.flag("optional", false);
    fields.each("shape", [&](const Json &axis, const std::string &at) {
        if (axis.is(Json::Kind::text) && axis.text() == "N") {
            spec.shape.push_back(kBatchAxis);
        } else if (axis.is(Json::Kind::text) && axis.text() == "L") {
            spec.shape.push_back(kLengthAxis);
        } else {
            spec.shape.push_back(whole_of(axis, at, 1, int64_t{1} << 31));
        }
    });
    fields.end();
    check_axes(spec, where);
    return spec;
}

ReportParts parts_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    ReportParts parts;
    parts.words = tensor_of(fields.need("words"), fields.path("words"));
    fields.pairs("models", [&](const std::string &precision, const Json &value, const std::string &at) {
        check_precision(precision, at);
        Fields files(value, at);
        PartFiles part{files.text("text"), files.text("rest")};
        files.end();
        parts.models.emplace_back(precision, std::move(part));
    });
    fields.end();
    return parts;
}

TextSpec text_spec_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    TextSpec spec;
    spec.vocabulary = fields.text_or("vocabulary", "vocabulary.txt");
    fields.ignore({"lowercase", "remove"});
    spec.max_tokens = fields.whole("max_tokens", 2, 4096);
    fields.each("buckets", [&](const Json &item, const std::string &at) {
        spec.buckets.push_back(whole_of(item, at, 2, 4096));
    });
    if (fields.maybe("fields") != nullptr) spec.fields = fields.texts("fields", 64);
    spec.refuse_missing = fields.choice_or("missing", {"refuse", "empty"}, "refuse") == "refuse";
    if (const Json *parts = fields.maybe("parts")) spec.parts = parts_of(*parts, fields.path("parts"));
    fields.end();
    const bool rises = std::is_sorted(spec.buckets.begin(), spec.buckets.end(), std::less_equal<>());
    if (spec.buckets.empty() || !rises || spec.buckets.back() != spec.max_tokens) {
        throw Invalid{where, "Value error, buckets must ascend to max_tokens, " + std::to_string(spec.max_tokens)};
    }
    return spec;
}

AggregationSpec aggregation_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    AggregationSpec spec;
    const std::string method = fields.choice("method", {"max", "mean", "logistic_regression"});
    spec.method = method == "max"    ? AggregationSpec::Method::max
                  : method == "mean" ? AggregationSpec::Method::mean
                                     : AggregationSpec::Method::logistic_regression;
    spec.coefficients = fields.numbers("coefficients");
    const std::optional<double> intercept = fields.maybe_number("intercept");
    spec.intercept = intercept.value_or(0);
    fields.end();
    const bool regression = spec.method == AggregationSpec::Method::logistic_regression;
    if (regression != intercept.has_value() || regression != (spec.coefficients.size() >= 2) ||
        spec.coefficients.size() > 1000) {
        throw Invalid{where, "Value error, coefficients, from 2 to 1000 of them, and intercept belong to the method "
                             "logistic_regression, which needs both"};
    }
    return spec;
}

RiskSpec risk_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    RiskSpec spec{fields.text("label", 1), fields.text_or("source", "", 200), fields.numbers("cuts"), fields.texts("names", 60)};
    fields.end();
    const bool rises = std::is_sorted(spec.cuts.begin(), spec.cuts.end(), std::less_equal<>());
    if (spec.cuts.empty() || spec.cuts.size() > 20 || !rises || spec.cuts.front() <= 0 || spec.cuts.back() >= 1 ||
        spec.names.size() != spec.cuts.size() + 1) {
        throw Invalid{where, "Value error, cuts must ascend between 0 and 1, with one more name than cuts"};
    }
    return spec;
}

EnsembleSpec ensemble_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    EnsembleSpec spec;
    fields.each("members", [&](const Json &item, const std::string &at) {
        Fields member(item, at);
        sha256_of(member, "checkpoint_sha256");
        member.text("checkpoint_format");
        member.ignore({"weights"});
        member.end();
        ++spec.members;
    });
    fields.choice_or("method", {"mean_probability"}, "mean_probability");
    spec.spread_bound = fields.maybe_number("spread_bound");
    fields.end();
    if (spec.members < 2 || spec.members > 32) throw Invalid{where, "members: 2 to 32 of them are expected"};
    return spec;
}

Provenance provenance_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    Provenance found;
    found.checkpoint_sha256 = sha256_of(fields, "checkpoint_sha256");
    for (const char *name : {"checkpoint_format", "exporter", "framework"}) fields.text(name);
    fields.each("repairs", [&](const Json &item, const std::string &at) {
        Fields repair(item, at);
        found.repairs.emplace_back(repair.text("name", 1, 60), repair.text("description", 0, 1000));
        repair.end();
    });
    fields.ignore({"dead_keys_ignored", "opset", "rewrites", "flops", "int8", "int8_bf16", "fp16", "bf16", "weights"});
    fields.end();
    return found;
}

Named<AccuracyBound> bounds_of(Fields &fields) {
    Named<AccuracyBound> bounds{{"fp16", {0.01, 0.01, 0.005}}, {"bf16", {0.02, 0.01, 0.005}}, {"int8", {0.10, 0.01, 0.005}}};
    fields.pairs("accuracy_bounds", [&](const std::string &precision, const Json &value, const std::string &at) {
        check_precision(precision, at);
        if (precision == "fp32") throw Invalid{at, "Value error, fp32 is what the others are compared with; it has no bound"};
        Fields own(value, at);
        const AccuracyBound bound{own.number("probability_difference", 0, 1), own.number("flips", 0, 1),
                                  own.number("auroc_loss", 0, 1)};
        own.end();
        const auto known = std::find_if(bounds.begin(), bounds.end(), [&](const auto &one) { return one.first == precision; });
        if (known != bounds.end()) {
            known->second = bound;
        } else {
            bounds.emplace_back(precision, bound);
        }
    });
    return bounds;
}

NetworkSpec network_of(const Json &json, const std::string &where) {
    Fields fields(json, where);
    NetworkSpec spec;
    spec.name = fields.text("name");
    fields.need("config");
    fields.whole("parameters", 0);
    spec.one_case = fields.maybe_whole("batch", 1, 1).has_value();
    fields.end();
    return spec;
}

void read_labels(Fields &fields, Manifest &manifest) {
    manifest.labels = fields.texts("labels");
    fields.pairs("label_codes", [&](const std::string &label, const Json &value, const std::string &at) {
        Fields code(value, at);
        manifest.label_codes.emplace_back(
            label, Code{code.text("scheme", 1, 16), code.text("value", 1, 64), code.text("meaning", 1, 64)});
        code.end();
    });
    manifest.activation = fields.text_or("activation", "sigmoid", 60);
    for (const auto &[standard, ours] : {std::pair{"binary", "sigmoid"}, {"multiclass", "softmax"}, {"multilabel", "independent"}}) {
        if (manifest.format_version > 1 && manifest.activation == standard) manifest.activation = ours;
    }
    manifest.aggregation = aggregation_of(fields.need("aggregation"), "aggregation");
    manifest.threshold = fields.maybe_number("threshold");
    manifest.thresholds = fields.numbers("thresholds");
    fields.each("risk_levels", [&](const Json &item, const std::string &at) {
        manifest.risk_levels.push_back(risk_of(item, at));
    });
    if (const Json *found = fields.maybe("ensemble")) manifest.ensemble = ensemble_of(*found, "ensemble");
    fields.each("branch_scores", [&](const Json &item, const std::string &at) {
        Fields branch(item, at);
        manifest.branch_scores.push_back({branch.text("output"), branch.text("title", 1, 40)});
        branch.end();
    });
}

void read_sources(Fields &fields, Manifest &manifest) {
    if (const Json *found = fields.maybe("preprocessing")) manifest.preprocessing = preprocessing_of(*found, "preprocessing");
    if (const Json *found = fields.maybe("image")) manifest.image = image_of(*found, "image");
    fields.each("series", [&](const Json &item, const std::string &at) {
        Fields series(item, at);
        manifest.series.push_back(series.text("input"));
        series.ignore({"description", "match"});
        series.end();
    });
    if (const Json *found = fields.maybe("table")) manifest.table = table_of(*found, "table");
    if (const Json *found = fields.maybe("text")) manifest.text = text_spec_of(*found, "text");
    if (const Json *found = fields.maybe("body_part")) {
        Fields rule(*found, "body_part");
        manifest.body_part = BodyPartRule{rule.texts("accepted", 16, 1), rule.texts("warned", 16, 1), rule.texts("refused", 16, 1)};
        rule.end();
        const BodyPartRule &said = *manifest.body_part;
        if (said.accepted.empty() && said.warned.empty() && said.refused.empty()) {
            throw Invalid{"body_part", "Value error, a rule of body parts must name one"};
        }
    }
    manifest.identity_required = fields.choice_or("identity", {"required", "optional"}, "optional") == "required";
}

Manifest manifest_of(const Json &document) {
    Fields fields(document, "");
    Manifest manifest;
    manifest.format_version = static_cast<int>(fields.whole("format_version", 1, 2));
    manifest.name = fields.text("name", 1, 200);
    manifest.version = fields.text_or("version", "", 64);
    manifest.release = fields.maybe_whole("release", 1);
    manifest.network = network_of(fields.need("network"), "network");
    fields.each("inputs", [&](const Json &item, const std::string &at) { manifest.inputs.push_back(tensor_of(item, at)); });
    fields.each("outputs", [&](const Json &item, const std::string &at) { manifest.outputs.push_back(tensor_of(item, at)); });
    fields.pairs("models", [&](const std::string &precision, const Json &value, const std::string &at) {
        check_precision(precision, at);
        manifest.models.emplace_back(precision, text_of(value, at));
    });
    read_sources(fields, manifest);
    read_labels(fields, manifest);
    manifest.accuracy_bounds = bounds_of(fields);
    manifest.provenance = provenance_of(fields.need("provenance"), "provenance");
    manifest.licence = fields.text("licence");
    manifest.intended_use = fields.text("intended_use");
    manifest.demonstration = fields.flag("demonstration", false);
    fields.pairs("files", [&](const std::string &name, const Json &value, const std::string &at) {
        Fields file(value, at);
        manifest.files.emplace_back(name, FileEntry{sha256_of(file, "sha256"), static_cast<uint64_t>(file.whole("size", 0))});
        file.end();
    });
    // What people and the workshop read.
    fields.text_or("description", "");
    fields.ignore({"attention", "attention_agreement", "explain", "module_titles"});
    fields.end();
    check_consistent(manifest);
    return manifest;
}

}  // namespace

Manifest parse_manifest(const Json &document, const std::string &shown) {
    try {
        return manifest_of(document);
    } catch (const Invalid &failure) {
        const std::string where = failure.where.empty() ? "manifest" : failure.where;
        throw Error(MMCAF_BUNDLE, shown + ": invalid manifest: " + where + ": " + failure.what + ".");
    }
}

}  // namespace mmcaf
