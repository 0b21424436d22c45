// One logit for each of several labels, of which one holds: the most probable is the answer.

#pragma once

#include "decisions.hpp"

namespace mmcaf {

// With "max" the answer is that of the window that is surest of its own label, with "mean" of the mean probabilities.
// Between equal labels the first is taken.
class MulticlassDecision final : public Decision {
   public:
    explicit MulticlassDecision(const Manifest &manifest);

   private:
    StudyScore of_windows(const Rows &logits) const override;
    Rows shares(const Rows &logits) const override;
    StudyScore joined(const std::vector<double> &probabilities, const Rows &shares) const override;

    // With the scores of every window [windows][labels].
    StudyScore answer(std::vector<double> probabilities, std::vector<double> logits, const Rows &exact, const Rows &shares) const;

    bool mean_;
};

}  // namespace mmcaf
