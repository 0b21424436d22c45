#include "self_test.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "digest.hpp"
#include "json.hpp"
#include "processor.hpp"
#include "text.hpp"

namespace mmcaf {
namespace {

constexpr size_t KEY_DIGITS = 32, MAX_STAMP_BYTES = 4096;

double largest_difference(const std::vector<float> &found, const std::vector<float> &stored) {
    double largest = 0;
    for (size_t at = 0; at < stored.size(); ++at) {
        const double difference = std::fabs(static_cast<double>(found[at]) - static_cast<double>(stored[at]));
        if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
        largest = std::max(largest, difference);
    }
    return largest;
}

void compare(const std::vector<Tensor> &answers, const std::vector<Tensor> &stored, Named<double> &errors) {
    for (size_t at = 0; at < stored.size(); ++at) {
        const bool same = answers[at].reals.size() == stored[at].reals.size();
        const double error = same ? largest_difference(answers[at].reals, stored[at].reals)
                                  : std::numeric_limits<double>::infinity();
        if (errors.size() <= at) errors.emplace_back(stored[at].name, 0.0);
        errors[at].second = std::max(errors[at].second, error);
    }
}

// The first so many word pieces of a tensor [1, L, ...].
Tensor cut(const Tensor &tensor, int64_t length) {
    Tensor made{tensor.name, tensor.shape, tensor.whole, {}, {}};
    made.shape[1] = length;
    size_t size = 1;
    for (const int64_t axis : made.shape) size *= static_cast<size_t>(axis);
    const auto first = [&](const auto &values) {
        return std::decay_t<decltype(values)>(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(size));
    };
    if (made.whole) {
        made.integers = first(tensor.integers);
    } else {
        made.reals = first(tensor.reals);
    }
    return made;
}

// A case with its text in the smallest bucket that holds it; nothing if it lies in that one already.
std::optional<Golden::Case> unpadded(const Golden::Case &given, const Manifest &manifest) {
    const auto place = [&](const char *kind) {
        const auto found = std::find_if(manifest.inputs.begin(), manifest.inputs.end(),
                                        [&](const TensorSpec &spec) { return spec.kind == kind; });
        return static_cast<size_t>(found - manifest.inputs.begin());
    };
    const size_t tokens = place("tokens"), masked = place("token_mask");
    const std::vector<int64_t> &mask = given.inputs[masked].integers;
    const auto last = std::find_if(mask.rbegin(), mask.rend(), [](int64_t one) { return one != 0; });
    int64_t length = std::max<int64_t>(1, mask.rend() - last);
    const std::vector<int64_t> &buckets = manifest.text->buckets;
    const auto bucket = std::lower_bound(buckets.begin(), buckets.end(), length);
    if (bucket != buckets.end()) length = *bucket;
    if (length >= static_cast<int64_t>(mask.size())) return std::nullopt;
    Golden::Case shorter = given;
    for (const size_t at : {tokens, masked}) shorter.inputs[at] = cut(given.inputs[at], length);
    for (size_t at = 0; at < manifest.outputs.size(); ++at) {
        const std::vector<int64_t> &shape = manifest.outputs[at].shape;
        if (std::count(shape.begin(), shape.end(), kLengthAxis)) shorter.outputs[at] = cut(given.outputs[at], length);
    }
    return shorter;
}

}  // namespace

double SelfTest::max_abs_error() const {
    double largest = 0;
    for (const auto &[output, error] : errors) largest = std::max(largest, error);
    return largest;
}

bool SelfTest::passed() const {
    return cases > 0 && !errors.empty() && std::all_of(errors.begin(), errors.end(), [&](const auto &one) {
               return 0 <= one.second && one.second <= tolerance;
           });
}

std::string SelfTest::fault() const {
    const auto worst = std::max_element(errors.begin(), errors.end(),
                                        [](const auto &one, const auto &other) { return one.second < other.second; });
    if (worst == errors.end()) return "there is no stored case";
    return "its " + worst->first + " of a stored case is off by " + general(worst->second, 2) + "; at most " +
           general(tolerance) + " is allowed";
}

double tolerance_of(const std::string &precision) {
    if (precision == "fp32") return 1e-4;
    if (precision == "fp16") return 2e-2;
    return precision == "bf16" ? 5e-2 : 1e-1;
}

SelfTest run_cases(const Manifest &manifest, const std::string &precision, const Golden &golden, const InferAll &infer) {
    SelfTest outcome;
    outcome.tolerance = tolerance_of(precision);
    for (const Golden::Case &one : golden.cases(manifest, precision)) {
        ++outcome.cases;
        compare(infer(one.inputs), one.outputs, outcome.errors);
        if (!manifest.text) continue;
        if (const auto shorter = unpadded(one, manifest)) compare(infer(shorter->inputs), shorter->outputs, outcome.errors);
    }
    return outcome;
}

Path stamp_of(const Path &folder, const SelfTestFacts &facts) {
    const System system = operating_system();
    Json::List told{facts.bundle_sha256, "openvino",     facts.build,    "CPU",         facts.precision,
                    facts.threads,       facts.engine,   system.machine, system.name,   system.release,
                    processor().name};
    for (const std::string &instruction : processor().instructions) told.emplace_back(instruction);
    return folder / (sha256_hex(print_json(told)).substr(0, KEY_DIGITS) + ".json");
}

Path raw_case_stamp_of(const Path &stamp) {
    const std::string told = "raw case of " + stamp.filename().string();
    return stamp.parent_path() / (sha256_hex(told).substr(0, KEY_DIGITS) + ".json");
}

std::optional<SelfTest> remembered(const Path &stamp, double tolerance) {
    const std::optional<std::string> text = read_own(stamp, MAX_STAMP_BYTES);
    if (!text) return std::nullopt;
    try {
        const Json stored = parse_json(*text, "stamp", MMCAF_BACKEND);
        const Json *errors = stored.find("errors"), *cases = stored.find("cases");
        if (errors == nullptr || cases == nullptr || !cases->is(Json::Kind::integer)) return std::nullopt;
        SelfTest outcome;
        for (const auto &[output, error] : errors->object()) {
            if (!error.is(Json::Kind::real) && !error.is(Json::Kind::integer)) return std::nullopt;
            outcome.errors.emplace_back(output, error.number());
        }
        outcome.tolerance = tolerance;
        outcome.cases = cases->integer();
        outcome.remembered = true;
        if (!outcome.passed()) return std::nullopt;
        mark_used(stamp);
        return outcome;
    } catch (const Error &) {
        return std::nullopt;
    }
}

void remember(const Path &stamp, const SelfTest &passed, const SelfTestFacts &facts) {
    Json::Object errors;
    for (const auto &[output, error] : passed.errors) errors.emplace_back(output, error);
    replace_file(stamp, print_json(Json::Object{{"bundle", facts.bundle_name},
                                                {"backend", "openvino"},
                                                {"precision", facts.precision},
                                                {"errors", std::move(errors)},
                                                {"cases", passed.cases}}));
}

}  // namespace mmcaf
