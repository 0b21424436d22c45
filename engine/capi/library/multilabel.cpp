#include "multilabel.hpp"

#include <algorithm>

#include "exact_sum.hpp"
#include "manifest.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

constexpr const char *none_present = "none above its threshold";

}  // namespace

MultilabelDecision::MultilabelDecision(const Manifest &manifest)
    : Decision(manifest.labels), thresholds_(manifest.thresholds), mean_(manifest.aggregation.method == AggregationSpec::Method::mean) {}

StudyScore MultilabelDecision::of_windows(const Rows &logits) const {
    const Rows each = shares(logits);
    std::vector<double> probabilities, of_study;
    for (size_t label = 0; label < labels_.size(); ++label) {
        std::vector<double> own, scores;
        for (size_t window = 0; window < logits.size(); ++window) {
            own.push_back(each[window][label]);
            scores.push_back(logits[window][label]);
        }
        if (mean_ && logits.size() > 1) {
            probabilities.push_back(exact_mean(own));
            of_study.push_back(logit_of(probabilities.back()));
        } else {
            probabilities.push_back(*std::max_element(own.begin(), own.end()));
            of_study.push_back(*std::max_element(scores.begin(), scores.end()));
        }
    }
    return answer(std::move(probabilities), std::move(of_study), logits, each);
}

Decision::Rows MultilabelDecision::shares(const Rows &logits) const {
    Rows found = logits;
    for (auto &row : found)
        for (double &value : row) value = sigmoid(value);
    return found;
}

StudyScore MultilabelDecision::joined(const std::vector<double> &probabilities, const Rows &shares) const {
    Rows exact = shares;
    for (auto &row : exact)
        for (double &value : row) value = logit_of(value);
    std::vector<double> of_study;
    for (const double probability : probabilities) of_study.push_back(logit_of(probability));
    return answer(probabilities, std::move(of_study), exact, shares);
}

StudyScore MultilabelDecision::answer(std::vector<double> probabilities, std::vector<double> logits, const Rows &exact,
                                      const Rows &shares) const {
    StudyScore score;
    std::vector<std::string> present;
    std::optional<size_t> likeliest;
    for (size_t at = 0; at < labels_.size(); ++at) {
        const bool holds = probabilities[at] >= thresholds_[at];
        score.findings.push_back({labels_[at], probabilities[at], logits[at], thresholds_[at], holds});
        if (!holds) continue;
        present.push_back(labels_[at]);
        if (!likeliest || probabilities[at] > probabilities[*likeliest]) likeliest = at;
    }
    score.label = likeliest.value_or(position_of_max(probabilities));
    score.verdict = present.empty() ? none_present : mmcaf::joined(present, ", ");
    if (present.size() == 1) score.probability = probabilities[score.label];
    score.probabilities = std::move(probabilities);
    score.logits = std::move(logits);
    for (size_t window = 0; window < exact.size(); ++window) {
        score.windows.push_back({exact[window][score.label], shares[window][score.label]});
        if (exact[window][score.label] > exact[score.deciding][score.label]) score.deciding = window;
    }
    return score;
}

}  // namespace mmcaf
