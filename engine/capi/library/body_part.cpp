#include "body_part.hpp"

#include <algorithm>

#include "error.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

bool among(const std::vector<std::string> &parts, const std::string &folded) {
    return std::any_of(parts.begin(), parts.end(), [&](const std::string &part) { return casefold(part) == folded; });
}

}  // namespace

void check_body_part(const std::optional<BodyPartRule> &rule, StudyFacts &facts) {
    if (!rule) return;
    const std::string read = rule->accepted.empty() ? "" : "; this network is for " + joined(rule->accepted, ", ");
    if (facts.body_part.empty()) {
        facts.remarks.push_back("study: nothing in its header says which part of the body was examined" + read + ".");
        return;
    }
    const std::string part = casefold(strip(facts.body_part));
    const std::string told = "study: (0018,0015) BodyPartExamined is " + facts.body_part;
    if (among(rule->refused, part)) {
        throw Error(MMCAF_STUDY, told + ", which this network refuses" + read + ".",
                    {Remedy{"Send the study that it is for.", {}, {}, {}}});
    }
    const bool known = rule->accepted.empty() || among(rule->accepted, part);
    if (!part.empty() && (!known || among(rule->warned, part))) {
        facts.warnings.push_back(told + ", which this network was not made for" + read + ".");
    }
}

}  // namespace mmcaf
