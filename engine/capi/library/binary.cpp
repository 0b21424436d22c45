#include "binary.hpp"

#include <algorithm>
#include <utility>

#include "exact_sum.hpp"
#include "manifest.hpp"

namespace mmcaf {

namespace {

std::vector<double> probabilities_of(const std::vector<WindowScore> &windows) {
    std::vector<double> found;
    for (const auto &window : windows) found.push_back(window.probability);
    return found;
}

}  // namespace

ScoreRegression::ScoreRegression(std::vector<double> coefficients, double intercept)
    : coefficients_(std::move(coefficients)), intercept_(intercept) {
    const double step = 1.0 / static_cast<double>(coefficients_.size());
    for (size_t edge = 0; edge < coefficients_.size(); ++edge) edges_.push_back(static_cast<double>(edge) * step);
    edges_.push_back(1.0);
}

double ScoreRegression::logit(const std::vector<double> &probabilities) const {
    std::vector<double> terms = parts(probabilities);
    terms.push_back(intercept_);
    return exact_sum(terms);
}

std::vector<double> ScoreRegression::parts(const std::vector<double> &probabilities) const {
    std::vector<double> found;
    for (const double probability : probabilities) {
        // Each range has its lower end and not its upper one, but for the last, which has both.
        const auto above = std::upper_bound(edges_.begin(), edges_.end(), probability);
        const auto range = static_cast<size_t>(above - edges_.begin()) - 1;
        found.push_back(coefficients_[std::min(range, coefficients_.size() - 1)]);
    }
    return found;
}

BinaryDecision::BinaryDecision(const Manifest &manifest)
    : Decision(manifest.labels), threshold_(manifest.threshold.value()), mean_(manifest.aggregation.method == AggregationSpec::Method::mean) {
    if (manifest.aggregation.method == AggregationSpec::Method::logistic_regression)
        regression_.emplace(manifest.aggregation.coefficients, manifest.aggregation.intercept);
}

StudyScore BinaryDecision::of_windows(const Rows &logits) const {
    std::vector<WindowScore> windows;
    size_t deciding = 0;
    for (const auto &row : logits) {
        windows.push_back({row[0], sigmoid(row[0])});
        if (row[0] > windows[deciding].logit) deciding = windows.size() - 1;
    }
    double logit = windows[deciding].logit, probability = windows[deciding].probability;
    if (regression_) {
        logit = regression_->logit(probabilities_of(windows));
        probability = sigmoid(logit);
    } else if (mean_) {
        probability = exact_mean(probabilities_of(windows));
        logit = logit_of(probability);
    }
    return answer(probability, logit, std::move(windows), deciding);
}

Decision::Rows BinaryDecision::shares(const Rows &logits) const {
    Rows found;
    for (const auto &row : logits) found.push_back({1.0 - sigmoid(row[0]), sigmoid(row[0])});
    return found;
}

StudyScore BinaryDecision::joined(const std::vector<double> &probabilities, const Rows &shares) const {
    std::vector<WindowScore> windows;
    size_t deciding = 0;
    for (const auto &row : shares) {
        windows.push_back({logit_of(row[1]), row[1]});
        if (row[1] > shares[deciding][1]) deciding = windows.size() - 1;
    }
    return answer(probabilities[1], logit_of(probabilities[1]), std::move(windows), deciding);
}

// All of label 1.
StudyScore BinaryDecision::answer(double probability, double logit, std::vector<WindowScore> windows, size_t deciding) const {
    StudyScore score;
    score.label = probability >= threshold_ ? 1 : 0;
    score.verdict = labels_[score.label];
    score.deciding = regression_ ? moving_most(windows, score.label == 1 ? 1.0 : -1.0) : deciding;
    if (score.label == 0)
        for (auto &window : windows) window = {-window.logit, 1.0 - window.probability};
    score.probabilities = {1.0 - probability, probability};
    score.probability = score.probabilities[score.label];
    score.logits = {logit};
    score.windows = std::move(windows);
    score.positive = Positive{labels_[1], probability, logit, threshold_};
    return score;
}

// The window that adds most to the logit, or takes most from it; among equals that of the furthest score.
size_t BinaryDecision::moving_most(const std::vector<WindowScore> &windows, double towards) const {
    const auto parts = regression_->parts(probabilities_of(windows));
    const auto moves = [&](size_t at) { return std::pair(towards * parts[at], towards * windows[at].logit); };
    size_t found = 0;
    for (size_t at = 1; at < windows.size(); ++at)
        if (moves(at) > moves(found)) found = at;
    return found;
}

}  // namespace mmcaf
