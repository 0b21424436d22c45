#include "slices.hpp"

#include <algorithm>

#include "encode.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

constexpr size_t kLongestUid = 64;
const std::string kExpected = "the numbers of the first and the last slice were expected, such as 40-52";

bool is_digit(char one) { return one >= '0' && one <= '9'; }

// Numbers with points between them, at least three.
bool is_uid(const std::string &text) {
    if (text.empty() || text.size() > kLongestUid || !is_digit(text.front()) || !is_digit(text.back())) return false;
    size_t points = 0;
    for (size_t at = 0; at < text.size(); ++at) {
        if (is_digit(text[at])) continue;
        if (text[at] != '.' || text[at + 1] == '.') return false;
        ++points;
    }
    return points >= 2;
}

std::vector<std::string> parts_of(const std::string &text) {
    std::vector<std::string> parts(1);
    bool between = false;
    for (const char32_t point : code_points(strip(text))) {
        const bool parts_them = point == ',' || point == ';' || strip(utf8({&point, 1})).empty();
        if (parts_them && !between) parts.emplace_back();
        if (!parts_them) parts.back() += utf8({&point, 1});
        between = parts_them;
    }
    return parts;
}

// The numbers of "40-52", with ASCII blanks around them; false where it is something else.
bool read_numbers(const std::string &text, SliceSpan &span) {
    size_t at = 0;
    const auto blanks = [&] {
        while (at < text.size() && (text[at] == ' ' || (text[at] >= '\t' && text[at] <= '\r'))) ++at;
    };
    const auto number = [&](int64_t &value) {
        const size_t first = at;
        value = 0;
        while (at < text.size() && is_digit(text[at]) && at - first < 9) value = value * 10 + (text[at++] - '0');
        return at > first;
    };
    blanks();
    if (!number(span.first)) return false;
    blanks();
    if (at >= text.size() || text[at++] != '-') return false;
    blanks();
    if (!number(span.last)) return false;
    blanks();
    return at == text.size();
}

SliceSpan read_span(const Json &given) {
    SliceSpan span;
    if (given.is(Json::Kind::text)) {
        if (!read_numbers(given.text(), span)) {
            throw UnusableValue{quoted(beginning(given.text(), 40)) + " came; " + kExpected};
        }
    } else if (given.is(Json::Kind::list) && given.list().size() == 2 && given.list()[0].is(Json::Kind::integer) &&
               given.list()[1].is(Json::Kind::integer)) {
        span = {given.list()[0].integer(), given.list()[1].integer()};
    } else {
        const std::string what = given.is(Json::Kind::list) ? std::to_string(given.list().size()) + " values"
                                                            : "a " + json_type(given);
        throw UnusableValue{what + " came; " + kExpected};
    }
    check_span(span);
    return span;
}

}  // namespace

void check_span(const SliceSpan &span) {
    if (span.first < 1) {
        throw UnusableValue{span.text() + " came; slices are numbered from 1 at the feet; " + kExpected};
    }
    if (span.last < span.first) {
        throw UnusableValue{span.text() + " came, whose last slice is before its first (was " +
                            SliceSpan{span.last, span.first}.text() + " meant?); " + kExpected};
    }
}

NamedSlices read_named(const Json &given) {
    NamedSlices named;
    if (given.is(Json::Kind::text)) named.uids = parts_of(given.text());
    if (given.is(Json::Kind::list)) {
        for (const Json &one : given.list()) named.uids.push_back(one.is(Json::Kind::text) ? one.text() : "");
    }
    if (!named.uids.empty() && std::all_of(named.uids.begin(), named.uids.end(), is_uid)) return named;
    named.uids.clear();
    try {
        named.span = read_span(given);
    } catch (const UnusableValue &why) {
        throw UnusableValue{why.reason + "; or the SOPInstanceUIDs of the slices"};
    }
    return named;
}

}  // namespace mmcaf
