#include "json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <locale>
#include <set>
#include <sstream>
#include <tuple>

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

std::pair<uint32_t, size_t> code_point(std::string_view text, size_t at) {
    const auto byte = [&](size_t place) { return place < text.size() ? static_cast<uint8_t>(text[place]) : 0u; };
    const uint32_t lead = byte(at);
    if (lead < 0x80) return {lead, 1};
    const size_t more = lead >= 0xF0 && lead < 0xF5 ? 3 : lead >= 0xE0 && lead < 0xF0 ? 2 : lead >= 0xC2 && lead < 0xE0 ? 1 : 0;
    uint32_t point = lead & (0x3F >> more);
    for (size_t place = 1; place <= more; ++place) {
        if ((byte(at + place) & 0xC0) != 0x80) return {0, 0};
        point = point << 6 | (byte(at + place) & 0x3F);
    }
    const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    return more == 0 || point < least[more] || point > 0x10FFFF ? std::pair<uint32_t, size_t>{0, 0}
                                                                : std::pair<uint32_t, size_t>{point, more + 1};
}

Json Json::integer_token(std::string token) {
    Json made;
    made.kind_ = Kind::integer;
    made.number_ = number_spelled(token);
    made.text_ = std::move(token);
    return made;
}

int64_t Json::integer() const { return std::strtoll(text_.c_str(), nullptr, 10); }

const Json *Json::find(std::string_view key) const {
    for (const auto &member : object_) {
        if (member.first == key) return &member.second;
    }
    return nullptr;
}

bool Json::operator==(const Json &other) const {
    if (kind_ != other.kind_) {
        const auto numeric = [](Kind kind) { return kind == Kind::integer || kind == Kind::real; };
        return numeric(kind_) && numeric(other.kind_) && number_ == other.number_;
    }
    if (kind_ != Kind::object) {
        const bool same_number = kind_ != Kind::real || number_ == other.number_;
        return truth_ == other.truth_ && same_number && text_ == other.text_ && list_ == other.list_;
    }
    if (object_.size() != other.object_.size()) return false;
    return std::all_of(object_.begin(), object_.end(), [&](const auto &member) {
        const Json *found = other.find(member.first);
        return found != nullptr && *found == member.second;
    });
}

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

std::string print_json(const Json &value) { return printed(value, {", ", ": "}); }
std::string print_json_canonically(const Json &value) { return printed(value, {",", ":", true}); }
std::string print_json_in_lines(const Json &value) { return printed(value, {",", ": ", false, true, 2}); }

std::string json_string(std::string_view text) {
    std::string out;
    print_text(out, text, false);
    return out;
}

double number_spelled(const std::string &text) {
    double number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec != std::errc::result_out_of_range) return number;
    std::istringstream stream(text);  // It also gives those that are too small for others.
    stream.imbue(std::locale::classic());
    return stream >> number ? number : std::numeric_limits<double>::infinity();
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
