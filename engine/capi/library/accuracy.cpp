#include "accuracy.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "json.hpp"

namespace mmcaf {
namespace {

constexpr int FORMAT = 1;

using Kind = Json::Kind;

std::string joined(const std::vector<std::string> &texts, const std::string &separator) {
    std::string all;
    for (const std::string &text : texts) all += (all.empty() ? "" : separator) + text;
    return all;
}

// Reads what is needed of the report, and says which part of it is missing or of another type.
class Report {
   public:
    explicit Report(const std::string &name) : name_(name) {}

    [[noreturn]] void refuse(const std::string &what) const {
        throw Error(MMCAF_BUNDLE, name_ + ": no accuracy report: " + what + ".",
                    {Remedy{"Copy the bundle again from its source.", "", "", ""}});
    }

    const Json &member(const Json &object, const std::string &key) const {
        const Json *found = object.find(key);
        if (found == nullptr) refuse(key + " is missing");
        return *found;
    }

    const Json &member(const Json &object, const std::string &key, Kind kind) const {
        const Json &found = member(object, key);
        if (!found.is(kind)) refuse(key + " is of another type");
        return found;
    }

    double number(const Json &object, const std::string &key) const {
        const Json &found = member(object, key);
        if (!found.is(Kind::integer) && !found.is(Kind::real)) refuse(key + " is no number");
        return found.number();
    }

    int64_t whole(const Json &object, const std::string &key) const { return member(object, key, Kind::integer).integer(); }

    std::optional<std::string> text_or_null(const Json &object, const std::string &key) const {
        const Json &found = member(object, key);
        if (found.is(Kind::null)) return std::nullopt;
        if (!found.is(Kind::text)) refuse(key + " is no text");
        return found.text();
    }

    Configuration configuration(const Json &told) const {
        Configuration read{text_or_null(told, "backend"), text_or_null(told, "hint"),
                           member(told, "between", Kind::text).text(), {}};
        for (const Json &kernel : member(told, "kernels", Kind::list).list()) read.kernels.insert(kernel.text());
        return read;
    }

    PrecisionCost precision(const Json &told) const {
        PrecisionCost cost;
        cost.max_probability_difference = number(told, "max_probability_difference");
        const Json &flips = member(told, "flips", Kind::object), &auroc = member(told, "auroc_difference");
        const auto count = [&](const char *key) {
            const Json *found = flips.find(key);
            return found != nullptr && found->is(Kind::integer) ? std::optional(found->integer()) : std::nullopt;
        };
        cost.flips = count("changed").value_or(count("to_label_0").value_or(0) + count("to_label_1").value_or(0));
        if (auroc.is(Kind::object)) cost.auroc_difference = number(auroc, "value");
        const Json *judged = told.find("judged");
        if (judged == nullptr || judged->is(Kind::null)) return cost;
        cost.judged.emplace();
        for (const Json &one : judged->list()) {
            cost.judged->push_back(configuration(member(one, "configuration", Kind::object)));
            cost.max_probability_difference =
                std::max(cost.max_probability_difference, number(one, "max_probability_difference"));
            flipped_.push_back(number(one, "flips"));
        }
        return cost;
    }

    Named<PrecisionCost> document(const Json &told) {
        const Json &cohort = member(told, "cohort", Kind::object);
        const std::string source = member(cohort, "source", Kind::text).text();
        const int64_t studies = whole(cohort, "studies");
        Named<PrecisionCost> found;
        for (const auto &[precision, report] : member(told, "precisions", Kind::object).object()) {
            flipped_.clear();
            PrecisionCost cost = this->precision(report);
            cost.cohort = source;
            cost.studies = studies;
            for (const double fraction : flipped_) {  // Rounded half to even, as Python does.
                cost.flips = std::max<int64_t>(cost.flips, std::llrint(fraction * static_cast<double>(studies)));
            }
            found.emplace_back(precision, std::move(cost));
        }
        return found;
    }

   private:
    const std::string &name_;
    mutable std::vector<double> flipped_;
};

// Whether kernels were judged: these, or others beside them too, and none at all. A processor with fewer instructions
// places fewer; each is held to the same answer by the self-test.
bool cover(const std::vector<std::set<std::string>> &judged, const std::set<std::string> &own) {
    if (std::find(judged.begin(), judged.end(), own) != judged.end()) return true;
    const bool without = std::find(judged.begin(), judged.end(), std::set<std::string>()) != judged.end();
    return without && std::any_of(judged.begin(), judged.end(), [&](const std::set<std::string> &one) {
               return std::includes(one.begin(), one.end(), own.begin(), own.end());
           });
}

}  // namespace

std::string Configuration::in_words() const {
    std::vector<std::string> facts;
    if (hint) facts.push_back("hint " + *hint);
    facts.push_back(between + " maps");
    if (!kernels.empty()) facts.push_back("kernels " + joined({kernels.begin(), kernels.end()}, ", "));
    return backend.value_or("any runtime that follows the types of the file") + " (" + joined(facts, ", ") + ")";
}

Named<PrecisionCost> parse_accuracy(std::string_view data, const std::string &name) {
    const Json told = parse_json(data, name, MMCAF_BUNDLE);
    const Json *version = told.find("format_version");
    if (version != nullptr && version->is(Kind::integer) && version->integer() > FORMAT) {
        throw Error(MMCAF_BUNDLE, name + ": accuracy format " + version->text() + "; this library reads up to " +
                                      std::to_string(FORMAT) + ".",
                    {Remedy{"Install a newer libmmcaf", "", "", ""}});
    }
    return Report(name).document(told);
}

std::string hint_of(const std::string &precision) { return precision == "fp16" ? "f16" : "f32"; }

std::string between_of(const std::string &precision) {
    if (precision == "fp16") return "fp16";
    return precision == "int8-bf16" ? "bf16" : "fp32";
}

std::optional<std::string> unjudged(const std::string &bundle, const std::string &precision, const PrecisionCost *cost,
                                    const std::optional<std::set<std::string>> &kernels) {
    if (precision == "fp32" || cost == nullptr || !cost->judged) return std::nullopt;
    const Configuration own{"openvino", hint_of(precision), between_of(precision), kernels.value_or(std::set<std::string>())};
    std::vector<std::set<std::string>> with_kernels;
    std::vector<std::string> known;
    for (const Configuration &one : *cost->judged) {
        known.push_back(one.in_words());
        // OpenVINO follows the types of a BF16 file; of INT8 it moves scales through the graph.
        if (!one.backend && !one.hint && one.between == own.between && one.kernels.empty() && precision == "bf16") {
            return std::nullopt;
        }
        if (one.backend == own.backend && one.hint == own.hint && one.between == own.between) {
            with_kernels.push_back(one.kernels);
        }
    }
    if (!with_kernels.empty() && (!kernels || cover(with_kernels, *kernels))) return std::nullopt;
    return "it would be computed by " + own.in_words() + ", but " + bundle + " was judged as computed by " +
           joined(known, " and ");
}

}  // namespace mmcaf
