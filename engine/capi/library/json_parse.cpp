#include "json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <locale>
#include <set>
#include <sstream>

namespace mmcaf {
namespace {

constexpr int MAX_DEPTH = 64;
constexpr size_t MOST_DIGITS = 20;

// Appends a code point, a lone half of a pair too.
void append(std::string &text, uint32_t point) {
    if (point < 0x80) {
        text += static_cast<char>(point);
        return;
    }
    const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    const unsigned lead[] = {0xC0, 0xE0, 0xF0};
    text += static_cast<char>(lead[more - 1] | point >> (6 * more));
    for (int at = more; at-- > 0;) text += static_cast<char>(0x80 | (point >> (6 * at) & 0x3F));
}

class Parser {
   public:
    Parser(std::string_view text, const std::string &name, mmcaf_code code) : text_(text), name_(name), code_(code) {}

    Json document() {
        Json found = value(0);
        skip();
        if (at_ < text_.size()) wrong("Extra data");
        return found;
    }

   private:
    [[noreturn]] void refuse(const std::string &what, const std::string &remedy = "") const {
        std::vector<Remedy> remedies;
        if (!remedy.empty()) remedies.push_back({remedy, "", "", ""});
        throw Error(code_, name_ + ": " + what, remedies);
    }

    [[noreturn]] void wrong(const std::string &what, size_t at) const {
        const std::string_view before = text_.substr(0, at);
        const auto lines = std::count(before.begin(), before.end(), '\n');
        const size_t line = before.rfind('\n') + 1;  // 0 where there is none
        const std::string_view in_line = before.substr(line);
        const auto column = std::count_if(in_line.begin(), in_line.end(), [](char one) { return (one & 0xC0) != 0x80; });
        refuse("not JSON: " + what + " at line " + std::to_string(lines + 1) + ", column " + std::to_string(column + 1) +
               ".");
    }

    [[noreturn]] void wrong(const std::string &what) const { wrong(what, at_); }

    void skip() {
        while (at_ < text_.size() && std::strchr(" \t\n\r", text_[at_]) != nullptr && text_[at_] != '\0') ++at_;
    }

    bool take(std::string_view word) {
        if (text_.compare(at_, word.size(), word) != 0) return false;
        at_ += word.size();
        return true;
    }

    Json value(int depth) {
        skip();
        if (at_ >= text_.size()) wrong("Expecting value");
        if (depth >= MAX_DEPTH) refuse("nested too deeply; at most " + std::to_string(MAX_DEPTH) + " levels are read.");
        if (text_[at_] == '"') return string();
        if (text_[at_] == '{') return object(depth);
        if (text_[at_] == '[') return list(depth);
        if (take("null")) return Json();
        if (take("true")) return true;
        if (take("false")) return false;
        for (const char *constant : {"NaN", "Infinity", "-Infinity"}) {
            if (take(constant)) {
                refuse(std::string(constant) + " is not a number that JSON allows.", "Give a finite number or null.");
            }
        }
        return number();
    }

    Json list(int depth) {
        Json::List found;
        ++at_;
        skip();
        if (take("]")) return found;
        for (;;) {
            found.push_back(value(depth + 1));
            skip();
            if (take("]")) return found;
            if (!take(",")) wrong("Expecting ',' delimiter");
        }
    }

    Json object(int depth) {
        Json::Object found;
        std::set<std::string> keys;
        ++at_;
        skip();
        if (take("}")) return found;
        for (;;) {
            skip();
            if (at_ >= text_.size() || text_[at_] != '"') wrong("Expecting property name enclosed in double quotes");
            std::string key = string();
            skip();
            if (!take(":")) wrong("Expecting ':' delimiter");
            if (!keys.insert(key).second) refuse("the key \"" + key.substr(0, 80) + "\" appears twice.", "Keep one of them.");
            Json member = value(depth + 1);
            found.emplace_back(std::move(key), std::move(member));
            skip();
            if (take("}")) return found;
            if (!take(",")) wrong("Expecting ',' delimiter");
        }
    }

    std::string string() {
        std::string found;
        const size_t begin = at_++;
        while (at_ < text_.size()) {
            const char one = text_[at_];
            if (one == '"') {
                ++at_;
                return found;
            }
            if (static_cast<uint8_t>(one) < 0x20) wrong("Invalid control character at");
            if (one != '\\') {
                found += one;
                ++at_;
                continue;
            }
            escape(found, begin);
        }
        wrong("Unterminated string starting at", begin);
    }

    void escape(std::string &found, size_t begin) {
        static const std::string letters = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
        if (at_ + 1 >= text_.size()) wrong("Unterminated string starting at", begin);
        const char letter = text_[at_ + 1];
        if (letter != 'u') {
            const size_t which = letters.find(letter);
            if (which == std::string::npos) wrong("Invalid \\escape");
            found += meant[which];
            at_ += 2;
            return;
        }
        uint32_t point = hexadecimal(at_ + 2);
        at_ += 6;
        const bool pair = point >= 0xD800 && point < 0xDC00 && text_.compare(at_, 2, "\\u") == 0;
        const uint32_t second = pair ? hexadecimal(at_ + 2) : 0;
        if (second >= 0xDC00 && second < 0xE000) {
            point = 0x10000 + ((point - 0xD800) << 10 | (second - 0xDC00));
            at_ += 6;
        }
        append(found, point);
    }

    uint32_t hexadecimal(size_t at) const {
        uint32_t point = 0;
        const char *const begin = text_.data() + std::min(at, text_.size());
        const char *const end = text_.data() + std::min(at + 4, text_.size());
        const auto read = std::from_chars(begin, end, point, 16);
        if (end - begin != 4 || read.ptr != end || at + 4 >= text_.size()) wrong("Invalid \\uXXXX escape", at - 1);
        return point;
    }

    size_t digits() {
        const size_t begin = at_;
        while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
        return at_ - begin;
    }

    Json number() {
        const size_t begin = at_;
        take("-");
        if (!take("0") && digits() == 0) {
            wrong("Expecting value", begin);
        }
        size_t end = at_;
        bool whole = true;
        if (take(".") && digits() > 0) {
            end = at_;
            whole = false;
        }
        at_ = end;
        if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
            ++at_;
            if (!take("+")) take("-");
            if (digits() > 0) {
                end = at_;
                whole = false;
            }
        }
        at_ = end;
        const std::string token(text_.substr(begin, end - begin));
        if (whole) {
            if (token.size() > MOST_DIGITS) {
                refuse("the whole number " + token.substr(0, 20) + "... has " + std::to_string(token.size()) +
                       " digits; at most 20 are read.");
            }
            return Json::integer_token(token == "-0" ? "0" : token);
        }
        const double read = number_spelled(token);
        if (!std::isfinite(read)) refuse("the number " + token.substr(0, 40) + " is too large.", "Give a finite number or null.");
        return read;
    }

    std::string_view text_;
    const std::string &name_;
    mmcaf_code code_;
    size_t at_ = 0;
};

}  // namespace

Json parse_json(std::string_view data, const std::string &name, mmcaf_code code, size_t max_bytes) {
    if (data.size() > max_bytes) {
        throw Error(code, name + ": " + std::to_string(data.size()) + " bytes of JSON; at most " +
                              std::to_string(max_bytes) + " are read.");
    }
    for (size_t at = 0; at < data.size();) {
        const auto [point, size] = code_point(data, at);
        if (size == 0 || (point >= 0xD800 && point < 0xE000)) {
            char byte[8];
            std::snprintf(byte, sizeof byte, "0x%02x", static_cast<unsigned>(static_cast<uint8_t>(data[at])));
            throw Error(code, name + ": not UTF-8 text (byte " + byte + " at offset " + std::to_string(at) + ").",
                        {Remedy{"Save the file as UTF-8.", "", "", ""}});
        }
        at += size;
    }
    if (data.substr(0, 3) == "\xEF\xBB\xBF") data.remove_prefix(3);
    return Parser(data, name, code).document();
}

double number_spelled(const std::string &text) {
    double number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec != std::errc::result_out_of_range) return number;
    std::istringstream stream(text);  // It also gives those that are too small for others.
    stream.imbue(std::locale::classic());
    return stream >> number ? number : std::numeric_limits<double>::infinity();
}

}  // namespace mmcaf
