#include "text.hpp"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace mmcaf {

namespace {

bool is_space(char32_t point) {
    return (point >= 0x09 && point <= 0x0d) || (point >= 0x1c && point <= 0x20) || point == 0x85 || point == 0xa0 ||
           point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
           point == 0x202f || point == 0x205f || point == 0x3000;
}

struct Range {
    char32_t first, last;
};

// Control and format characters, separators but the blank, surrogates and private use.
constexpr Range kHidden[] = {
    {0x00, 0x1f},       {0x7f, 0xa0},       {0xad, 0xad},       {0x600, 0x605},     {0x61c, 0x61c},
    {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},     {0x8e2, 0x8e2},     {0x1680, 0x1680},
    {0x180e, 0x180e},   {0x2000, 0x200f},   {0x2028, 0x202f},   {0x205f, 0x206f},   {0x3000, 0x3000},
    {0xd800, 0xf8ff},   {0xfeff, 0xfeff},   {0xfff0, 0xfffb},   {0xfffe, 0xffff},   {0x110bd, 0x110bd},
    {0x110cd, 0x110cd}, {0x13430, 0x13438}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0x10ffff},
};

bool is_hidden(char32_t point) {
    for (const Range &range : kHidden) {
        if (point >= range.first && point <= range.last) return true;
    }
    return false;
}

void append(std::string &text, char32_t point) {
    const auto byte = [&](char32_t value) { text.push_back(static_cast<char>(value)); };
    if (point < 0x80) {
        byte(point);
    } else if (point < 0x800) {
        byte(0xc0 | point >> 6);
        byte(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        byte(0xe0 | point >> 12);
        byte(0x80 | (point >> 6 & 0x3f));
        byte(0x80 | (point & 0x3f));
    } else {
        byte(0xf0 | point >> 18);
        byte(0x80 | (point >> 12 & 0x3f));
        byte(0x80 | (point >> 6 & 0x3f));
        byte(0x80 | (point & 0x3f));
    }
}

// By to_chars and not by printf, which has the decimal comma of a host program's locale.
std::string formatted(double value, std::chars_format format, int digits) {
    if (std::isnan(value)) return "nan";
    char text[400];
    const auto end = std::to_chars(text, text + sizeof text, value, format, digits).ptr;
    return {text, end};
}

}  // namespace

std::u32string code_points(std::string_view text) {
    std::u32string points;
    points.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
        const auto first = static_cast<unsigned char>(text[at]);
        const size_t more = first < 0xc0 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        char32_t point = more == 0 ? first : first & (0x3f >> more);
        for (size_t next = 1; next <= more && at + next < text.size(); ++next) {
            point = point << 6 | (static_cast<unsigned char>(text[at + next]) & 0x3f);
        }
        points.push_back(point);
        at += more + 1;
    }
    return points;
}

std::string utf8(std::u32string_view text) {
    std::string bytes;
    for (const char32_t point : text) append(bytes, point);
    return bytes;
}

std::string strip(std::string_view text) {
    const std::u32string points = code_points(text);
    size_t first = 0, end = points.size();
    while (first < end && is_space(points[first])) ++first;
    while (end > first && is_space(points[end - 1])) --end;
    return utf8(std::u32string_view(points).substr(first, end - first));
}

std::string casefold(std::string_view text) {
    std::string found;
    for (const char32_t point : code_points(text)) {
        char32_t into[3];
        const int count = folded(point, into);
        for (int at = 0; at < count; ++at) append(found, into[at]);
    }
    return found;
}

std::string fold(std::string_view text) {
    std::string found = casefold(strip(text));
    for (char &one : found) {
        if (one == ' ' || one == '-') one = '_';
    }
    return found;
}

std::string field_key(std::string_view text) {
    std::string found = fold(text);
    return found == "patientid" ? "patient_id" : found;
}

std::string beginning(std::string_view text, size_t count) {
    return utf8(std::u32string_view(code_points(text)).substr(0, count));
}

std::string quoted(std::string_view text) {
    const bool doubled = text.find('\'') != text.npos && text.find('"') == text.npos;
    const char32_t quote = doubled ? '"' : '\'';
    std::string found(1, static_cast<char>(quote));
    for (const char32_t point : code_points(text)) {
        char spelled[16];
        if (point == quote || point == '\\') {
            found.push_back('\\');
            append(found, point);
        } else if (point == '\t' || point == '\n' || point == '\r') {
            found += point == '\t' ? "\\t" : point == '\n' ? "\\n" : "\\r";
        } else if (is_hidden(point)) {
            const char *form = point < 0x100 ? "\\x%02x" : point < 0x10000 ? "\\u%04x" : "\\U%08x";
            std::snprintf(spelled, sizeof spelled, form, static_cast<unsigned>(point));
            found += spelled;
        } else {
            append(found, point);
        }
    }
    return found + static_cast<char>(quote);
}

std::string joined(const std::vector<std::string> &texts, std::string_view separator) {
    std::string found;
    for (size_t at = 0; at < texts.size(); ++at) {
        if (at > 0) found += separator;
        found += texts[at];
    }
    return found;
}

std::string general(double value, int digits) { return formatted(value, std::chars_format::general, digits); }

std::string fixed(double value, int digits) { return formatted(value, std::chars_format::fixed, digits); }

}  // namespace mmcaf
