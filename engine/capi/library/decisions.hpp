// Output decisions: what a network's scores mean, one class for each kind that the format has.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "score.hpp"

namespace mmcaf {

struct Manifest;

class Decision {
   public:
    virtual ~Decision() = default;

    // The study's answer from its windows. Each member of an ensemble answers by itself, from all windows; then the mean of
    // their probabilities counts.
    //
    // starts: the first slice of each window.
    // Throws Error(MMCAF_BACKEND): a score is no finite number.
    StudyScore aggregate(const std::vector<int64_t> &starts, const Scores &scores) const;

   protected:
    explicit Decision(std::vector<std::string> labels) : labels_(std::move(labels)) {}

    using Rows = std::vector<std::vector<double>>;  // [windows][labels]

    // As `aggregate`, of one network's finite scores [windows][scores].
    virtual StudyScore of_windows(const Rows &logits) const = 0;

    // Each window's probability of every label.
    virtual Rows shares(const Rows &logits) const = 0;

    // What follows from the means over an ensemble's members: of the study [labels], and of every window.
    virtual StudyScore joined(const std::vector<double> &probabilities, const Rows &shares) const = 0;

    const std::vector<std::string> labels_;

   private:
    StudyScore of_members(const Scores &scores) const;
};

// The decision that a manifest declares.
// Throws Error(MMCAF_BUNDLE): it is one of another package, which only the Python engine can load.
std::unique_ptr<Decision> decision_for(const Manifest &manifest);

}  // namespace mmcaf
