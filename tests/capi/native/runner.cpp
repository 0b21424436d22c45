// The runner by itself: opens a bundle's network and answers the stored cases.

#include <optional>

#include "bundle.hpp"
#include "golden.hpp"
#include "json.hpp"
#include "runner.hpp"
#include "texts.hpp"

namespace {

using mmcaf::Json;

mmcaf::RunnerOptions options_of(const Json &given, std::vector<std::string> &log) {
    mmcaf::RunnerOptions options;
    const auto text = [&](const char *name) {
        const Json *found = given.find(name);
        return found == nullptr ? std::nullopt : std::optional<std::string>(found->text());
    };
    options.precision = text("precision").value_or("auto");
    options.cache = text("cache");
    options.kernels = text("kernels");
    if (const Json *threads = given.find("threads")) options.threads = static_cast<int>(threads->integer());
    options.require_kept_engine = given.find("require_kept_engine") != nullptr;
    options.log = [&log](int, const std::string &message) { log.push_back(message); };
    return options;
}

Json described(const mmcaf::Opening &opening, const std::vector<std::string> &log) {
    Json::Object kernels, errors;
    for (const auto &[name, layers] : opening.kernels) kernels.emplace_back(name, layers);
    for (const auto &[output, error] : opening.self_test.errors) errors.emplace_back(output, error);
    return Json::Object{{"precision", opening.precision},
                        {"threads", opening.threads},
                        {"version", opening.runtime_version},
                        {"kernels", std::move(kernels)},
                        {"fallback", opening.fallback ? Json(*opening.fallback) : Json()},
                        {"cache_hit", opening.cache_hit},
                        {"cache", opening.cache},
                        {"remembered", opening.self_test.remembered},
                        {"errors", std::move(errors)},
                        {"log", Json::List(log.begin(), log.end())}};
}

}  // namespace

// {"bundle": ..., "precision": ...} -> how it was opened, and of each stored case the values of each output.
MMCAF_TESTING_API char *mmcaf_testing_run_cases(const char *request) {
    return mmcaf::answered([&] {
        const Json given = mmcaf::parse_json(request, "request", MMCAF_USAGE);
        const mmcaf::Bundle bundle(given.find("bundle")->text(), std::nullopt);
        std::vector<std::string> log;
        mmcaf::Runner runner(bundle, options_of(given, log));
        const mmcaf::Golden golden(bundle.read(mmcaf::GOLDEN_NAME, uint64_t{1} << 30), bundle.shown());
        Json::List cases;
        for (const mmcaf::Golden::Case &one : golden.cases(bundle.manifest(), runner.opening().precision)) {
            Json::Object outputs;
            for (const mmcaf::Tensor &output : runner.infer(one.inputs, true)) {
                outputs.emplace_back(output.name, Json::List(output.reals.begin(), output.reals.end()));
            }
            cases.emplace_back(std::move(outputs));
        }
        return mmcaf::print_json(Json::Object{{"opening", described(runner.opening(), log)}, {"cases", std::move(cases)}});
    });
}
