// Results from scores that a test makes up, beside the same of the Python engine.

#include "assemble.hpp"
#include "bundle.hpp"
#include "created.hpp"
#include "exact_sum.hpp"
#include "json.hpp"
#include "texts.hpp"

namespace mmcaf {

namespace {

Texts texts_of(const Json &list) {
    Texts found;
    for (const auto &one : list.list()) found.push_back(one.text());
    return found;
}

std::vector<double> numbers_of(const Json &list) {
    std::vector<double> found;
    for (const auto &one : list.list()) found.push_back(one.number());
    return found;
}

Named<double> named_numbers(const Json &object) {
    Named<double> found;
    for (const auto &[name, value] : object.object()) found.emplace_back(name, value.number());
    return found;
}

StudyFacts facts_of(const Json &given) {
    StudyFacts facts;
    facts.modality = given.find("modality")->text();
    for (const auto &[name, uid] : given.find("uids")->object()) facts.uids.emplace_back(name, uid.text());
    facts.slices = static_cast<size_t>(given.find("slices")->integer());
    const auto spacing = numbers_of(*given.find("spacing_mm"));
    facts.spacing_mm = {spacing[0], spacing[1], spacing[2]};
    facts.warnings = texts_of(*given.find("warnings"));
    facts.remarks = texts_of(*given.find("remarks"));
    facts.body_part = given.find("body_part")->text();
    for (const auto &image : given.find("images")->list()) {
        const auto &parts = image.list();
        facts.images.push_back({parts[0].text(), parts[1].text(), static_cast<int>(parts[2].integer())});
    }
    return facts;
}

Prepared prepared_of(const Json &given) {
    Prepared prepared;
    for (const auto &one : given.find("series")->list()) {
        PreparedSeries series;
        series.input = one.find("input")->text();
        series.source = one.find("source")->text();
        series.chosen = one.find("chosen")->text();
        series.facts = facts_of(*one.find("facts"));
        series.windows.depth = static_cast<size_t>(one.find("depth")->integer());
        for (const auto &start : one.find("starts")->list()) series.windows.starts.push_back(start.integer());
        series.windows.shape = {static_cast<size_t>(series.windows.starts.back()) + series.windows.depth, 1, 1};
        series.windows.slices.resize(series.windows.shape[0]);
        prepared.series.push_back(std::move(series));
    }
    if (const Json *record = given.find("record"); record != nullptr && record->is(Json::Kind::object)) {
        prepared.clinical.record.emplace();
        prepared.clinical.record->features = named_numbers(*record->find("features"));
        prepared.clinical.record->cuts = named_numbers(*record->find("cuts"));
        prepared.clinical.record->missing = texts_of(*record->find("missing"));
        prepared.clinical.sha256 = record->find("sha256")->text();
        prepared.clinical.identity = record->find("identity")->text();
        prepared.clinical.warnings = texts_of(*record->find("warnings"));
        prepared.clinical.remarks = texts_of(*record->find("remarks"));
    }
    return prepared;
}

std::vector<WindowValues> outputs_of(const Json &given) {
    std::vector<WindowValues> found;
    for (const auto &[name, windows] : given.object()) {
        WindowValues output{name, {}};
        for (const auto &window : windows.list()) {
            const auto values = numbers_of(window);
            output.windows.emplace_back(values.begin(), values.end());
        }
        found.push_back(std::move(output));
    }
    return found;
}

std::string result_of(const char *manifest_json, const char *given_json) {
    const Manifest manifest = parse_manifest(parse_json(manifest_json, "manifest", MMCAF_BUNDLE), "manifest");
    const Json given = parse_json(given_json, "given", MMCAF_USAGE);
    auto outputs = outputs_of(*given.find("outputs"));
    if (const Texts broken = texts_of(*given.find("broken")); !broken.empty())
        for (auto &output : outputs)
            if (output.output == broken[0]) output.windows[1][0] = std::strtof(broken[1].c_str(), nullptr);
    const Prepared prepared = prepared_of(given);
    const std::string sha256 = given.find("bundle_sha256")->text();
    EngineSummary engine{"openvino", "fp32", "CPU", "openvino", "1", "a processor", 1, {}, {}, {}};
    AnsweringFacts facts{{manifest.name, {}, sha256, device_uid(sha256), {}}, engine, texts_of(*given.find("bundle_remarks")), {}};
    if (!manifest.version.empty()) facts.model.version = manifest.version;
    Answerer answerer(manifest, facts, [&, window = size_t{0}](const std::vector<Tensor> &, bool) mutable {
        std::vector<Tensor> found;
        for (const auto &output : outputs) found.push_back({output.output, {}, false, output.windows[window], {}});
        ++window;
        return found;
    });
    Stopwatch watch;
    AnswerGiven how{creation_time("2026-11-30T09:08:48Z"), {}, given.find("strict")->truth()};
    return to_json(answerer.answer(prepared, how, watch));
}

}  // namespace

}  // namespace mmcaf

// The result of scores: the manifest, and {outputs, series, record, bundle_sha256, bundle_remarks, strict}.
MMCAF_TESTING_API char *mmcaf_testing_result(const char *manifest_json, const char *given_json) {
    return mmcaf::answered([&] { return mmcaf::result_of(manifest_json, given_json); });
}

MMCAF_TESTING_API char *mmcaf_testing_created(const char *given) {
    return mmcaf::answered([&] { return mmcaf::creation_time(std::string(given)); });
}

MMCAF_TESTING_API double mmcaf_testing_exact_sum(const double *values, size_t count) {
    return mmcaf::exact_sum({values, values + count});
}

MMCAF_TESTING_API void mmcaf_testing_free(char *text) {
    std::free(text);
}
