// One logit for each of several labels, of which any number may hold: each has a threshold of its own.

#pragma once

#include "decisions.hpp"

namespace mmcaf {

// The verdict names the labels that are present, and has a probability where that is one. Windows are of the most probable
// of these or, if none is present, of all; between equal ones, of the first. With "max" each label has its own highest
// window, with "mean" the mean probability.
class MultilabelDecision final : public Decision {
   public:
    explicit MultilabelDecision(const Manifest &manifest);

   private:
    StudyScore of_windows(const Rows &logits) const override;
    Rows shares(const Rows &logits) const override;
    StudyScore joined(const std::vector<double> &probabilities, const Rows &shares) const override;

    // Of every label: probability and logit of the study [labels], and those of every window [windows][labels].
    StudyScore answer(std::vector<double> probabilities, std::vector<double> logits, const Rows &exact, const Rows &shares) const;

    std::vector<double> thresholds_;
    bool mean_;
};

}  // namespace mmcaf
