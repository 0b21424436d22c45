#include "decisions.hpp"

#include "binary.hpp"
#include "error.hpp"
#include "exact_sum.hpp"
#include "manifest.hpp"
#include "multiclass.hpp"
#include "multilabel.hpp"
#include "text.hpp"

namespace mmcaf {

StudyScore Decision::aggregate(const std::vector<int64_t> &starts, const Scores &scores) const {
    refuse_not_finite(starts, scores);
    if (scores.ensemble) return of_members(scores);
    Rows logits(scores.windows);
    for (size_t window = 0; window < scores.windows; ++window)
        for (size_t score = 0; score < scores.scores; ++score) logits[window].push_back(scores.at(window, score));
    return of_windows(logits);
}

StudyScore Decision::of_members(const Scores &scores) const {
    Rows members, mean_shares(scores.windows, std::vector<double>(labels_.size(), 0.0));
    for (size_t member = 0; member < scores.members; ++member) {
        Rows logits(scores.windows);
        for (size_t window = 0; window < scores.windows; ++window)
            for (size_t score = 0; score < scores.scores; ++score) logits[window].push_back(scores.at(window, score, member));
        members.push_back(of_windows(logits).probabilities);
        const Rows own = shares(logits);
        for (size_t window = 0; window < scores.windows; ++window)
            for (size_t label = 0; label < labels_.size(); ++label) mean_shares[window][label] += own[window][label];
    }
    const double count = static_cast<double>(scores.members);
    for (auto &window : mean_shares)
        for (double &share : window) share /= count;
    std::vector<double> mean;
    for (size_t label = 0; label < labels_.size(); ++label) {
        std::vector<double> each;
        for (const auto &probabilities : members) each.push_back(probabilities[label]);
        mean.push_back(exact_mean(each));
    }
    StudyScore score = joined(mean, mean_shares);
    score.members = std::move(members);
    return score;
}

std::unique_ptr<Decision> decision_for(const Manifest &manifest) {
    if (manifest.activation == "sigmoid") return std::make_unique<BinaryDecision>(manifest);
    if (manifest.activation == "softmax") return std::make_unique<MulticlassDecision>(manifest);
    if (manifest.activation == "independent") return std::make_unique<MultilabelDecision>(manifest);
    throw Error(MMCAF_BUNDLE,
                manifest.name + ": the output decision " + quoted(manifest.activation) +
                    " is that of another package; this library has sigmoid, softmax and independent.",
                {{"Answer on the command line or in Python, where that package is installed", "", "", ""}});
}

}  // namespace mmcaf
