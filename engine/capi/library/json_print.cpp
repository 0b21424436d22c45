#include "json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <tuple>

namespace mmcaf {
namespace {

struct Style {
    std::string comma, colon;
    bool sorted = false, ascii = true;
    int indent = -1;
};

void print_text(std::string &out, std::string_view text, bool ascii) {
    out += '"';
    for (size_t at = 0; at < text.size();) {
        auto [point, size] = code_point(text, at);
        if (size == 0) std::tie(point, size) = std::pair<uint32_t, size_t>(static_cast<uint8_t>(text[at]), 1);
        static const std::string plain = "\"\\\b\f\n\r\t", letters = "\"\\bfnrt";
        const size_t which = point < 0x80 ? plain.find(static_cast<char>(point)) : std::string::npos;
        const auto escaped = [&](uint32_t unit) {
            char spelt[16];
            std::snprintf(spelt, sizeof spelt, "\\u%04x", static_cast<unsigned>(unit));
            out += spelt;
        };
        if (which != std::string::npos) {
            out += '\\';
            out += letters[which];
        } else if (point < 0x20 || (ascii && point > 0x7E && point < 0x10000)) {
            escaped(point);
        } else if (ascii && point >= 0x10000) {
            escaped(0xD800 | (point - 0x10000) >> 10);
            escaped(0xDC00 | ((point - 0x10000) & 0x3FF));
        } else {
            out += text.substr(at, size);
        }
        at += size;
    }
    out += '"';
}

void print(std::string &out, const Json &value, const Style &style, int depth) {
    const auto line = [&](int level) {
        if (style.indent >= 0) out += "\n" + std::string(static_cast<size_t>(style.indent * level), ' ');
    };
    switch (value.kind()) {
        case Json::Kind::null: out += "null"; return;
        case Json::Kind::boolean: out += value.truth() ? "true" : "false"; return;
        case Json::Kind::integer: out += value.text(); return;
        case Json::Kind::real: out += float_repr(value.number()); return;
        case Json::Kind::text: print_text(out, value.text(), style.ascii); return;
        case Json::Kind::list: {
            out += '[';
            for (size_t at = 0; at < value.list().size(); ++at) {
                if (at > 0) out += style.comma;
                line(depth + 1);
                print(out, value.list()[at], style, depth + 1);
            }
            if (!value.list().empty()) line(depth);
            out += ']';
            return;
        }
        case Json::Kind::object: {
            std::vector<const Json::Object::value_type *> members;
            for (const auto &member : value.object()) members.push_back(&member);
            if (style.sorted) {
                std::sort(members.begin(), members.end(), [](auto *one, auto *other) { return one->first < other->first; });
            }
            out += '{';
            for (size_t at = 0; at < members.size(); ++at) {
                if (at > 0) out += style.comma;
                line(depth + 1);
                print_text(out, members[at]->first, style.ascii);
                out += style.colon;
                print(out, members[at]->second, style, depth + 1);
            }
            if (!members.empty()) line(depth);
            out += '}';
        }
    }
}

std::string printed(const Json &value, const Style &style) {
    std::string out;
    print(out, value, style, 0);
    return out;
}

}  // namespace

std::string print_json(const Json &value) { return printed(value, {", ", ": "}); }
std::string print_json_canonically(const Json &value) { return printed(value, {",", ":", true}); }
std::string print_json_in_lines(const Json &value) { return printed(value, {",", ": ", false, true, 2}); }

std::string json_string(std::string_view text) {
    std::string out;
    print_text(out, text, false);
    return out;
}

std::string float_repr(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    char digits[32];
    const auto written = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::scientific);
    std::string text(digits, written.ptr);
    const size_t e = text.find('e');
    const int exponent = std::stoi(text.substr(e + 1));
    if (exponent < -4 || exponent >= 16) {  // Python writes 1e-05 and 1e+16 so, too.
        return text;
    }
    const std::string sign = text[0] == '-' ? "-" : "";
    std::string all = text.substr(sign.size(), e - sign.size());
    all.erase(std::remove(all.begin(), all.end(), '.'), all.end());
    if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + all;
    const size_t whole = static_cast<size_t>(exponent) + 1;
    if (all.size() <= whole) return sign + all + std::string(whole - all.size(), '0') + ".0";
    return sign + all.substr(0, whole) + "." + all.substr(whole);
}

}  // namespace mmcaf
