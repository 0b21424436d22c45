// What one bundle's answers are made with: every window through the network, then the decision, then the result.

#pragma once

#include <functional>
#include <memory>

#include "beside.hpp"
#include "prepare.hpp"
#include "timing.hpp"

namespace mmcaf {

// Runs the network on one window: all inputs in, the outputs by name out; `optional` also those that the manifest calls so.
using RunNetwork = std::function<std::vector<Tensor>(const std::vector<Tensor> &inputs, bool optional)>;

// What is said of a bundle and of what runs it in each result.
struct AnsweringFacts {
    ModelSummary model;
    EngineSummary engine;
    Texts remarks, warnings;  // those of the bundle's signature and those of its opening
};

// How one study is answered.
struct AnswerGiven {
    std::string created;  // as creation_time gives it
    AnswerDependsOn depends_on;
    bool strict = false;
};

// Safe to use from several threads as far as `run` is.
class Answerer {
   public:
    // `manifest` outlives it. Throws Error(MMCAF_BUNDLE): as decision_for.
    Answerer(const Manifest &manifest, AnsweringFacts facts, RunNetwork run);

    // Throws Error(MMCAF_STRICT): `strict`, and the answer carries warnings; Error(MMCAF_BACKEND): the network's answer is no
    // number; what `run` throws; and as `check_cancelled` and `report`.
    Result answer(const Prepared &prepared, const AnswerGiven &given, Stopwatch &watch) const;

   private:
    std::vector<WindowValues> run_windows(const Prepared &prepared) const;

    const Manifest &manifest_;
    const AnsweringFacts facts_;
    const RunNetwork run_;
    const std::unique_ptr<Decision> decision_;
    const bool tells_more_;
};

}  // namespace mmcaf
