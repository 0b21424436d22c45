#include "score.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.hpp"
#include "exact_sum.hpp"

namespace mmcaf {

double sigmoid(double logit) {
    if (logit >= 0.0) return 1.0 / (1.0 + std::exp(-logit));
    return std::exp(logit) / (1.0 + std::exp(logit));
}

std::vector<double> softmax(const std::vector<double> &logits) {
    const double highest = *std::max_element(logits.begin(), logits.end());
    std::vector<double> shares;
    for (const double logit : logits) shares.push_back(std::exp(logit - highest));
    const double sum = exact_sum(shares);
    for (double &share : shares) share /= sum;
    return shares;
}

double log_of(double probability) {
    return std::log(std::max(probability, std::numeric_limits<double>::min()));
}

double logit_of(double probability) {
    return log_of(probability) - log_of(1.0 - probability);
}

size_t position_of_max(const std::vector<double> &values) {
    return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

void refuse_not_finite(const std::vector<int64_t> &starts, const Scores &scores) {
    const auto broken = std::find_if_not(scores.values.begin(), scores.values.end(), [](float one) { return std::isfinite(one); });
    if (broken == scores.values.end()) return;
    const size_t window = static_cast<size_t>(broken - scores.values.begin()) / (scores.members * scores.scores);
    const char *value = std::isnan(*broken) ? "nan" : *broken > 0 ? "inf" : "-inf";
    throw Error(MMCAF_BACKEND,
                "The network's answer for the window at slice " + std::to_string(starts[window]) + " is " + value + ", no number.",
                {{"Try another precision", "precision", "fp32", ""},
                 {"Or another backend, on the command line or in Python", "backend", "onnxruntime", ""}});
}

}  // namespace mmcaf
