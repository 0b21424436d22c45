#include "multiclass.hpp"

#include <algorithm>

#include "exact_sum.hpp"
#include "manifest.hpp"

namespace mmcaf {

namespace {

using Rows = std::vector<std::vector<double>>;

std::vector<double> column(const Rows &rows, size_t at) {
    std::vector<double> found;
    for (const auto &row : rows) found.push_back(row[at]);
    return found;
}

double highest(const std::vector<double> &values) {
    return *std::max_element(values.begin(), values.end());
}

std::vector<double> logs(const std::vector<double> &probabilities) {
    std::vector<double> found;
    for (const double probability : probabilities) found.push_back(log_of(probability));
    return found;
}

}  // namespace

MulticlassDecision::MulticlassDecision(const Manifest &manifest)
    : Decision(manifest.labels), mean_(manifest.aggregation.method == AggregationSpec::Method::mean) {}

StudyScore MulticlassDecision::of_windows(const Rows &logits) const {
    const Rows each = shares(logits);
    if (!mean_) {
        std::vector<double> surest;
        for (const auto &row : each) surest.push_back(highest(row));
        const size_t deciding = position_of_max(surest);
        StudyScore score = answer(each[deciding], logits[deciding], logits, each);
        score.deciding = deciding;
        return score;
    }
    std::vector<double> of_study, constants;
    for (size_t label = 0; label < labels_.size(); ++label) of_study.push_back(exact_mean(column(each, label)));
    for (size_t window = 0; window < logits.size(); ++window)
        constants.push_back(highest(logits[window]) - log_of(highest(each[window])));
    // With this constant, the logits of a single window are its own.
    const double constant = exact_mean(constants);
    std::vector<double> chosen = logs(of_study);
    for (double &logit : chosen) logit += constant;
    return answer(std::move(of_study), std::move(chosen), logits, each);
}

Decision::Rows MulticlassDecision::shares(const Rows &logits) const {
    Rows found;
    for (const auto &row : logits) found.push_back(softmax(row));
    return found;
}

StudyScore MulticlassDecision::joined(const std::vector<double> &probabilities, const Rows &shares) const {
    Rows exact;
    for (const auto &row : shares) exact.push_back(logs(row));
    return answer(probabilities, logs(probabilities), exact, shares);
}

StudyScore MulticlassDecision::answer(std::vector<double> probabilities, std::vector<double> logits, const Rows &exact,
                                      const Rows &shares) const {
    StudyScore score;
    score.label = position_of_max(probabilities);
    score.verdict = labels_[score.label];
    score.probability = probabilities[score.label];
    score.probabilities = std::move(probabilities);
    score.logits = std::move(logits);
    for (size_t window = 0; window < exact.size(); ++window)
        score.windows.push_back({exact[window][score.label], shares[window][score.label]});
    score.deciding = position_of_max(column(shares, score.label));
    return score;
}

}  // namespace mmcaf
