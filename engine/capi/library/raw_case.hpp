// A bundle's raw case: whether study and record still become the inputs and the answer that they were at export; as
// mmcaf_engine/checkup/raw_case.py has it. The golden cases begin at the network's inputs, so that no edit of a preprocessing
// constant fails them.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "golden.hpp"
#include "prepare.hpp"

namespace mmcaf {

// A raw case whose windows and features came out as they were stored; the largest |difference| of each.
//
// probabilities: of each label, to compare an answer with.
struct RawCase {
    Prepared prepared;
    double windows = 0, features = 0;
    std::vector<double> probabilities;
};

// Prepares a bundle's raw case as any study is prepared, and compares with what was stored at export. A report is taken as
// the tokens that it became then. Nothing of a bundle without a raw case, as those of version 1.
//
// precision: whose own answers are given, where these are stored. vocabulary: of a network that reads text.
//
// Error MMCAF_BUNDLE: the case is damaged, or a step does not give what it did: the message names the step.
std::optional<RawCase> check_raw_case(const Manifest &manifest, const Golden &golden, const std::string &precision,
                                      const Vocabulary *vocabulary);

}  // namespace mmcaf
