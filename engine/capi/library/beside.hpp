// What a result says beside the answer, made of it or of the network's other outputs: levels of risk, how far the members
// of an ensemble agree, what parts of the network say by themselves, how it computed, and what labels are called.

#pragma once

#include "decisions.hpp"
#include "result.hpp"

namespace mmcaf {

// An output of the network in every window.
struct WindowValues {
    std::string output;
    std::vector<std::vector<float>> windows;
};

// The level of each label that the manifest has cut points for, in its order.
std::vector<RiskLevel> risk_levels(const Manifest &manifest, const std::vector<double> &probabilities);

// What each member gave; nothing where there is one network.
std::optional<EnsembleSpread> ensemble_of(const Manifest &manifest, const StudyScore &score);

// That members disagree by more than the manifest says, and on which labels.
Texts ensemble_warnings(const std::optional<EnsembleSpread> &ensemble);

// Of each output of the kind branch_score, every label's probability by the decision of the answer, which it has no part in.
// Throws Error(MMCAF_BACKEND): a score is no finite number.
std::vector<BranchScore> branch_scores(const Manifest &manifest, const Decision &decision, const std::vector<int64_t> &starts,
                                       const std::vector<WindowValues> &outputs);

// Of each output of the kind diagnostic, its values, the mean over the windows.
// Throws Error(MMCAF_BACKEND): a value is no finite number.
Named<std::vector<double>> diagnostics(const Manifest &manifest, const std::vector<WindowValues> &outputs);

// Label -> its code: the manifest's or, where it gives none, a private one.
Named<Code> label_codes(const Manifest &manifest);

// The scores of an output that the decision reads: [windows, scores], of an ensemble [windows, members, scores].
Scores scores_of(const Manifest &manifest, const WindowValues &output);

// A Device UID of a bundle (DICOM PS3.5 B.2): 2.25. and the UUIDv5 of urn:sha256:BUNDLE_SHA256 as a decimal number.
std::string device_uid(const std::string &bundle_sha256);

}  // namespace mmcaf
