#include "json_writer.hpp"
#include "result.hpp"

namespace mmcaf {

constexpr int schema_version = 2;

// Where JsonWriter looks for them: in the namespace of what they write.
static void write(JsonWriter &to, const Positive &of) {
    to.object([&] {
        to.field("label", of.label);
        to.field("probability", of.probability);
        to.field("logit", of.logit);
        to.field("threshold", of.threshold);
    });
}

static void write(JsonWriter &to, const Finding &of) {
    to.object([&] {
        to.field("label", of.label);
        to.field("probability", of.probability);
        to.field("logit", of.logit);
        to.field("threshold", of.threshold);
        to.field("present", of.present);
    });
}

static void write(JsonWriter &to, const RiskLevel &of) {
    to.object([&] {
        to.field("label", of.label);
        to.field("level", of.level);
        to.field("rank", of.rank);
        to.field("levels", of.levels);
        to.field("probability", of.probability);
        to.field("from_probability", of.from_probability);
        to.field("below", of.below);
        to.field("source", of.source);
    });
}

static void write(JsonWriter &to, const BranchScore &of) {
    to.object([&] {
        to.field("output", of.output);
        to.field("title", of.title);
        to.field("probabilities", of.probabilities);
        to.field("logits", of.logits);
    });
}

static void write(JsonWriter &to, const ResultWindow &of) {
    to.object([&] {
        to.field("start_slice", of.start_slice);
        to.field("slices", of.slices);
        to.field("logit", of.logit);
        to.field("probability", of.probability);
    });
}

static void write(JsonWriter &to, const SelectedSeries &of) {
    to.object([&] {
        to.field("input", of.input);
        to.field("source", of.source);
        to.field("chosen", of.chosen);
        to.field("slices", of.slices);
        to.field("spacing_mm", of.spacing_mm);
    });
}

static void write(JsonWriter &to, const StudySummary &of) {
    to.object([&] {
        to.field("uids", of.uids);
        to.field("modality", of.modality);
        to.field("body_part", of.body_part);
        to.field("slices", of.slices);
        to.field("spacing_mm", of.spacing_mm);
        to.field("selection", of.selection);
        to.field("warnings", of.warnings);
    });
}

static void write(JsonWriter &to, const Evidence &of) {
    to.object([&] {
        to.field("input", of.input);
        to.field("sop_class_uid", of.sop_class_uid);
        to.field("sop_instance_uid", of.sop_instance_uid);
        to.field("frame", of.frame);
    });
}

static void write(JsonWriter &to, const RecordSummary &of) {
    to.object([&] {
        to.field("features", of.features);
        to.field("missing", of.missing);
        to.field("sha256", of.sha256);
        to.field("identity", of.identity);
        to.field("warnings", of.warnings);
        to.null_field("influence");
    });
}

static void write(JsonWriter &to, const Code &of) {
    to.object([&] {
        to.field("scheme", of.scheme);
        to.field("value", of.value);
        to.field("meaning", of.meaning);
    });
}

static void write(JsonWriter &to, const SignedBy &of) {
    to.object([&] {
        to.field("name", of.name);
        to.field("key", of.key);
    });
}

static void write(JsonWriter &to, const ModelSummary &of) {
    to.object([&] {
        to.field("name", of.name);
        to.field("version", of.version);
        to.field("bundle_sha256", of.bundle_sha256);
        to.field("device_uid", of.device_uid);
        to.field("signed_by", of.signed_by);
    });
}

static void write(JsonWriter &to, const AccuracySummary &of) {
    to.object([&] {
        to.field("cohort", of.cohort);
        to.field("studies", of.studies);
        to.field("max_probability_difference", of.max_probability_difference);
        to.field("flips", of.flips);
        to.field("auroc_difference", of.auroc_difference);
    });
}

static void write(JsonWriter &to, const EngineSummary &of) {
    to.object([&] {
        to.field("backend", of.backend);
        to.field("precision", of.precision);
        to.field("device", of.device);
        to.field("runtime", of.runtime);
        to.field("runtime_version", of.runtime_version);
        to.field("processor", of.processor);
        to.field("threads", of.threads);
        to.field("kernels", of.kernels);
        to.field("fallback", of.fallback);
        to.field("accuracy", of.accuracy);
    });
}

static void write(JsonWriter &to, const EnsembleSpread &of) {
    to.object([&] {
        to.field("members", of.members);
        to.field("probabilities", of.probabilities);
        to.field("spread", of.spread);
        to.field("bound", of.bound);
    });
}

// What cannot be given here is as it is in Python where it is not given.
static void write_options(JsonWriter &to, const EngineSummary &engine, const AnswerDependsOn &of) {
    to.field("backend", engine.backend);
    to.field("precision", engine.precision);
    to.field("threads", engine.threads);
    to.null_field("series");
    to.field("gaps", "refuse");
    to.field("tilt", "refuse");
    to.field("duplicates", "refuse");
    to.null_field("oblique");
    to.field("stride", of.stride);
    if (of.slices)
        to.field("slices", std::array<int, 2>{of.slices->first, of.slices->second});
    else
        to.null_field("slices");
    to.null_field("row");
    to.field("allow_id_mismatch", of.allow_id_mismatch);
    to.field("explain", Texts());
}

std::string to_json(const Result &result) {
    JsonWriter to;
    to.object([&] {
        to.field("schema_version", schema_version);
        to.field("created", result.created);
        to.field("label", result.score.verdict);
        to.field("probability", result.score.probability);
        to.field("probabilities", result.probabilities);
        to.field("positive", result.score.positive);
        to.field("findings", result.score.findings);
        if (!result.risk_levels.empty()) to.field("risk_level", result.risk_levels);
        if (!result.branch_scores.empty()) to.field("branch_scores", result.branch_scores);
        if (!result.diagnostics.empty()) to.field("diagnostics", result.diagnostics);
        to.field("windows", result.windows);
        to.field("study", result.study);
        to.field("evidence", result.evidence);
        to.field("record", result.record);
        to.field("labels", result.labels);
        to.field("model", result.model);
        to.field("remarks", result.remarks);
        to.object_field("software", [&] {
            to.field("name", "mmcaf-infer");
            to.field("version", MMCAF_VERSION);
        });
        to.field("engine", result.engine);
        to.object_field("options", [&] { write_options(to, result.engine, result.options); });
        to.null_field("attention");
        if (result.ensemble) to.field("ensemble", *result.ensemble);
        to.field("timing_ms", result.timing_ms);
        to.field("warnings", result.warnings);
        to.field("disclaimer", result.disclaimer);
    });
    return to.take();
}

}  // namespace mmcaf
