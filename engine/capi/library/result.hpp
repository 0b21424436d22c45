// A study's answer with all that is needed to make it again, and its JSON object of schema version 2: field by field the
// Result of the Python engine (mmcaf_engine/result/result.py, docs/result.md), which says what each of them means.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "manifest.hpp"
#include "score.hpp"

namespace mmcaf {

using Texts = std::vector<std::string>;
using SpacingMm = std::array<double, 3>;

struct RiskLevel {
    std::string label, level;
    size_t rank, levels;
    double probability;
    std::optional<double> from_probability, below;
    std::string source;
};

struct BranchScore {
    std::string output, title;
    Named<double> probabilities;
    std::vector<double> logits;
};

struct EnsembleSpread {
    size_t members;
    Named<std::vector<double>> probabilities;
    Named<double> spread;
    std::optional<double> bound;
};

struct ResultWindow {
    int64_t start_slice, slices;
    double logit, probability;
};

struct SelectedSeries {
    std::string input, source, chosen;
    size_t slices;
    SpacingMm spacing_mm;
};

struct StudySummary {
    Named<std::string> uids;
    std::string modality;
    std::optional<std::string> body_part;
    size_t slices = 0;
    SpacingMm spacing_mm = {};
    std::vector<SelectedSeries> selection;
    Texts warnings;
};

struct Evidence {
    std::string input, sop_class_uid, sop_instance_uid;
    std::optional<int> frame;
};

struct RecordSummary {
    Named<double> features;
    Texts missing;
    std::optional<std::string> sha256;
    std::string identity;
    Texts warnings;
};

struct SignedBy {
    std::string name, key;
};

struct ModelSummary {
    std::string name;
    std::optional<std::string> version;
    std::string bundle_sha256, device_uid;
    std::optional<SignedBy> signed_by;
};

// What a precision costs, from the bundle's accuracy.json.
struct AccuracySummary {
    std::string cohort;
    int64_t studies;
    double max_probability_difference;
    int64_t flips;
    std::optional<double> auroc_difference;
};

// What ran the network.
struct EngineSummary {
    std::string backend, precision, device, runtime, runtime_version, processor;
    int threads = 0;
    Named<int64_t> kernels;
    std::optional<std::string> fallback;
    std::optional<AccuracySummary> accuracy;
};

// What the answer depends on beside the study, the record and the bundle; the rest of Python's options is what they are
// there without being given.
struct AnswerDependsOn {
    std::optional<int> stride;
    std::optional<std::pair<int, int>> slices;  // from 1 at the feet
    bool allow_id_mismatch = false;
};

struct Result {
    std::string created;  // UTC
    Named<double> probabilities;
    StudyScore score;
    std::vector<RiskLevel> risk_levels;
    std::vector<BranchScore> branch_scores;
    Named<std::vector<double>> diagnostics;
    std::vector<ResultWindow> windows;
    StudySummary study;
    std::vector<Evidence> evidence;
    std::optional<RecordSummary> record;
    Named<Code> labels;
    ModelSummary model;
    Texts remarks;
    EngineSummary engine;
    AnswerDependsOn options;
    std::optional<EnsembleSpread> ensemble;
    Named<double> timing_ms;
    Texts warnings;
    std::string disclaimer;
};

// On one line, as Python prints it.
std::string to_json(const Result &result);

}  // namespace mmcaf
