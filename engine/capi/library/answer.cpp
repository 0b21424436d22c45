#include "answer.hpp"

#include <algorithm>

#include "assemble.hpp"
#include "cancel.hpp"
#include "error.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

bool tells_more(const TensorSpec &output) {
    return output.kind == "branch_score" || output.kind == "diagnostic";
}

void refuse_warnings(const Texts &warnings) {
    if (warnings.empty()) return;
    throw Error(MMCAF_STRICT,
                "Not answered, since there are warnings (" + std::to_string(warnings.size()) + "): " + joined(warnings, " "),
                {{"Resolve them, or leave this out", "strict", "", ""}});
}

}  // namespace

Answerer::Answerer(const Manifest &manifest, AnsweringFacts facts, RunNetwork run)
    : manifest_(manifest),
      facts_(std::move(facts)),
      run_(std::move(run)),
      decision_(decision_for(manifest)),
      tells_more_(std::any_of(manifest.outputs.begin(), manifest.outputs.end(), tells_more)) {}

Result Answerer::answer(const Prepared &prepared, const AnswerGiven &given, Stopwatch &watch) const {
    const auto outputs = [&] {
        const auto span = watch.span("infer");
        return run_windows(prepared);
    }();
    Result result;
    {
        const auto span = watch.span("aggregate");
        const auto starts = prepared.starts();
        const auto score_output = std::find_if(outputs.begin(), outputs.end(),
                                               [&](const auto &one) { return one.output == manifest_.score().name; });
        const StudyScore score = decision_->aggregate(starts, scores_of(manifest_, *score_output));
        result.branch_scores = branch_scores(manifest_, *decision_, starts, outputs);
        result.diagnostics = diagnostics(manifest_, outputs);
        result.ensemble = ensemble_of(manifest_, score);
        result.warnings = facts_.warnings;
        for (const auto &more : {prepared.study_warnings(), prepared.clinical.warnings, ensemble_warnings(result.ensemble)})
            result.warnings.insert(result.warnings.end(), more.begin(), more.end());
        if (given.strict) refuse_warnings(result.warnings);
        result.created = given.created;
        result.options = given.depends_on;
        assemble(result, manifest_, facts_, prepared, score);
    }
    result.timing_ms = watch.stages_ms();
    return result;
}

std::vector<WindowValues> Answerer::run_windows(const Prepared &prepared) const {
    std::vector<WindowValues> outputs;
    for (size_t window = 0; window < prepared.size(); ++window) {
        check_cancelled();
        for (auto &found : run_(prepared.inputs(window, manifest_), tells_more_)) {
            auto known = std::find_if(outputs.begin(), outputs.end(), [&](const auto &one) { return one.output == found.name; });
            if (known == outputs.end()) known = outputs.insert(outputs.end(), WindowValues{found.name, {}});
            known->windows.push_back(std::move(found.reals));
        }
        report("infer", window + 1, prepared.size());
    }
    return outputs;
}

}  // namespace mmcaf
