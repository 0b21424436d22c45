// One logit, which scores label 1 of two: a threshold decides.

#pragma once

#include <optional>

#include "decisions.hpp"

namespace mmcaf {

// The logit of a study from how many of its windows have a probability in each of equal ranges from 0 to 1.
class ScoreRegression {
   public:
    ScoreRegression(std::vector<double> coefficients, double intercept);

    double logit(const std::vector<double> &probabilities) const;

    // What each window adds to the study's logit: the coefficient of the range that its probability lies in.
    std::vector<double> parts(const std::vector<double> &probabilities) const;

   private:
    std::vector<double> coefficients_, edges_;
    double intercept_;
};

// What is decided on is the score of label 1: with "max" that of its highest window, with "mean" its mean probability,
// with a regression what that makes of all windows. The answer rests most on the highest window; with a regression, on the
// one that moves it furthest.
class BinaryDecision final : public Decision {
   public:
    explicit BinaryDecision(const Manifest &manifest);

   private:
    StudyScore of_windows(const Rows &logits) const override;
    Rows shares(const Rows &logits) const override;
    StudyScore joined(const std::vector<double> &probabilities, const Rows &shares) const override;

    StudyScore answer(double probability, double logit, std::vector<WindowScore> windows, size_t deciding) const;
    size_t moving_most(const std::vector<WindowScore> &windows, double towards) const;

    double threshold_;
    bool mean_;
    std::optional<ScoreRegression> regression_;
};

}  // namespace mmcaf
