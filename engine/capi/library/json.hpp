// JSON from untrusted files, as mmcaf_engine/strict_json.py reads it: bounded size and depth, no duplicate keys, no NaN or
// infinity. It is printed as Python's json module prints it, since keys of kept engines are digests of such texts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.hpp"

namespace mmcaf {

class Json {
   public:
    enum class Kind { null, boolean, integer, real, text, list, object };
    using List = std::vector<Json>;
    using Object = std::vector<std::pair<std::string, Json>>;  // in the document's order

    Json() = default;
    Json(bool value) : kind_(Kind::boolean), truth_(value) {}
    Json(int value) : Json(static_cast<int64_t>(value)) {}
    Json(int64_t value) : kind_(Kind::integer), number_(static_cast<double>(value)), text_(std::to_string(value)) {}
    Json(uint64_t value) : kind_(Kind::integer), number_(static_cast<double>(value)), text_(std::to_string(value)) {}
    Json(double value) : kind_(Kind::real), number_(value) {}
    Json(const char *value) : Json(std::string(value)) {}
    Json(std::string value) : kind_(Kind::text), text_(std::move(value)) {}
    Json(List value) : kind_(Kind::list), list_(std::move(value)) {}
    Json(Object value) : kind_(Kind::object), object_(std::move(value)) {}
    static Json integer_token(std::string token);

    Kind kind() const { return kind_; }
    bool is(Kind kind) const { return kind_ == kind; }
    bool truth() const { return truth_; }
    double number() const { return number_; }        // of integers and reals
    int64_t integer() const;                         // of an integer; saturated
    const std::string &text() const { return text_; }  // of a text; of an integer, its digits
    const List &list() const { return list_; }
    const Object &object() const { return object_; }
    const Json *find(std::string_view key) const;  // of an object; nullptr without

    // As Python compares: the order of keys does not count.
    bool operator==(const Json &other) const;
    bool operator!=(const Json &other) const { return !(*this == other); }

   private:
    Kind kind_ = Kind::null;
    bool truth_ = false;
    double number_ = 0;
    std::string text_;
    List list_;
    Object object_;
};

constexpr size_t MAX_JSON_BYTES = 4 * 1024 * 1024;

// Throws Error of this code: not UTF-8, not JSON, a duplicate key, NaN or an infinite number, too large or too deep.
Json parse_json(std::string_view data, const std::string &name, mmcaf_code code, size_t max_bytes = MAX_JSON_BYTES);

// json.dumps with its defaults; with sort_keys=True, separators=(",", ":"); with indent=2.
std::string print_json(const Json &value);
std::string print_json_canonically(const Json &value);
std::string print_json_in_lines(const Json &value);

// A text in quotes, beyond ASCII as it is: json.dumps(text, ensure_ascii=False).
std::string json_string(std::string_view text);

// The code point at a place of UTF-8, and how many bytes it takes; 0 bytes where there is none. The half of a pair is one.
std::pair<uint32_t, size_t> code_point(std::string_view text, size_t at);

// The shortest digits that are this number: repr of a float.
std::string float_repr(double value);

// The nearest number to the one that such a text spells, in digits, with a point and an exponent as JSON has them; infinite
// above all that there are. Whatever the locale of the process: in some, strtod ends at the point.
double number_spelled(const std::string &text);

}  // namespace mmcaf
