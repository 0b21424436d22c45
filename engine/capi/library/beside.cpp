#include "beside.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "exact_sum.hpp"
#include "json.hpp"
#include "manifest.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

const WindowValues &output_called(const std::vector<WindowValues> &outputs, const std::string &name) {
    return *std::find_if(outputs.begin(), outputs.end(), [&](const auto &one) { return one.output == name; });
}

Named<double> by_label(const Manifest &manifest, const std::vector<double> &values) {
    Named<double> found;
    for (size_t at = 0; at < values.size(); ++at) found.emplace_back(manifest.labels[at], values[at]);
    return found;
}

// In as many decimals as it takes to be above the bound.
std::string above(double spread, double bound) {
    for (int decimals = 3; decimals < 17; ++decimals) {
        const std::string text = fixed(spread, decimals);
        if (number_spelled(text) > bound) return text;
    }
    return float_repr(spread);
}

}  // namespace

std::vector<RiskLevel> risk_levels(const Manifest &manifest, const std::vector<double> &probabilities) {
    std::vector<RiskLevel> found;
    for (const auto &spec : manifest.risk_levels) {
        const auto label = std::find(manifest.labels.begin(), manifest.labels.end(), spec.label) - manifest.labels.begin();
        const double probability = probabilities[static_cast<size_t>(label)];
        const auto cut = std::upper_bound(spec.cuts.begin(), spec.cuts.end(), probability);
        const auto at = static_cast<size_t>(cut - spec.cuts.begin());
        RiskLevel level{spec.label, spec.names[at], at + 1, spec.names.size(), probability, {}, {}, spec.source};
        if (at > 0) level.from_probability = spec.cuts[at - 1];
        if (at < spec.cuts.size()) level.below = spec.cuts[at];
        found.push_back(level);
    }
    return found;
}

std::optional<EnsembleSpread> ensemble_of(const Manifest &manifest, const StudyScore &score) {
    if (!manifest.ensemble) return {};
    EnsembleSpread found{score.members.size(), {}, {}, manifest.ensemble->spread_bound};
    for (size_t label = 0; label < manifest.labels.size(); ++label) {
        std::vector<double> each, squares;
        for (const auto &probabilities : score.members) each.push_back(probabilities[label]);
        // About the mean of these members: of all that there are, not of a sample of more.
        const double mean = exact_mean(each);
        for (const double one : each) squares.push_back((one - mean) * (one - mean));
        found.probabilities.emplace_back(manifest.labels[label], each);
        found.spread.emplace_back(manifest.labels[label], std::sqrt(exact_mean(squares)));
    }
    return found;
}

Texts ensemble_warnings(const std::optional<EnsembleSpread> &ensemble) {
    if (!ensemble || !ensemble->bound) return {};
    const double bound = *ensemble->bound;
    Texts wide;
    for (const auto &[label, spread] : ensemble->spread)
        if (spread > bound) wide.push_back(label + " " + above(spread, bound));
    if (wide.empty()) return {};
    return {"The " + std::to_string(ensemble->members) +
            " networks of the ensemble disagree: the standard deviation of their probabilities is above " + general(bound) + ": " +
            joined(wide, ", ") + "."};
}

Scores scores_of(const Manifest &manifest, const WindowValues &output) {
    Scores scores;
    scores.ensemble = manifest.ensemble.has_value();
    scores.members = scores.ensemble ? manifest.ensemble->members : 1;
    scores.windows = output.windows.size();
    scores.scores = output.windows[0].size() / scores.members;
    for (const auto &window : output.windows) scores.values.insert(scores.values.end(), window.begin(), window.end());
    return scores;
}

std::vector<BranchScore> branch_scores(const Manifest &manifest, const Decision &decision, const std::vector<int64_t> &starts,
                                       const std::vector<WindowValues> &outputs) {
    std::vector<BranchScore> found;
    for (const auto &entry : manifest.branch_scores) {
        const StudyScore score = decision.aggregate(starts, scores_of(manifest, output_called(outputs, entry.output)));
        found.push_back({entry.output, entry.title, by_label(manifest, score.probabilities), score.logits});
    }
    return found;
}

Named<std::vector<double>> diagnostics(const Manifest &manifest, const std::vector<WindowValues> &outputs) {
    Named<std::vector<double>> found;
    for (const auto &spec : manifest.outputs) {
        if (spec.kind != "diagnostic") continue;
        const auto &windows = output_called(outputs, spec.name).windows;
        std::vector<double> means;
        for (size_t at = 0; at < windows[0].size(); ++at) {
            std::vector<double> values;
            for (const auto &window : windows) values.push_back(window[at]);
            if (!std::all_of(values.begin(), values.end(), [](double one) { return std::isfinite(one); }))
                throw Error(MMCAF_BACKEND,
                            "The network's output " + spec.name + ", which tells of how it computed, is not finite.",
                            {{"Try another precision", "precision", "fp32", ""},
                             {"Or another backend, on the command line or in Python", "backend", "onnxruntime", ""}});
            means.push_back(exact_mean(values));
        }
        found.emplace_back(spec.name, means);
    }
    return found;
}

}  // namespace mmcaf
