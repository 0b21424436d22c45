// A JSON document written field by field, as json.dumps(..., ensure_ascii=False) spells it in Python.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "json.hpp"

namespace mmcaf {

class JsonWriter {
   public:
    // One field of the object that is open, by whatever `value` can write.
    template <class Value> void field(std::string_view name, const Value &given) {
        separate();
        text_ += json_string(name) + ": ";
        value(given);
    }

    void null_field(std::string_view name) { field(name, nullptr); }

    // An object whose fields `fill` writes.
    template <class Fill> void object(const Fill &fill) { within('{', '}', fill); }
    template <class Fill> void object_field(std::string_view name, const Fill &fill) {
        field(name, [&] { object(fill); });
    }

    void value(std::nullptr_t) { text_ += "null"; }
    void value(bool given) { text_ += given ? "true" : "false"; }
    void value(double given) { text_ += float_repr(given); }
    void value(const std::string &given) { text_ += json_string(given); }
    void value(const char *given) { text_ += json_string(given); }

    template <class Number> std::enable_if_t<std::is_integral_v<Number> && !std::is_same_v<Number, bool>> value(Number given) {
        text_ += std::to_string(given);
    }

    template <class Value> void value(const std::optional<Value> &given) { given ? value(*given) : value(nullptr); }

    template <class Value> void value(const std::vector<Value> &given) { list(given); }
    template <class Value, size_t count> void value(const std::array<Value, count> &given) { list(given); }

    template <class Value> void value(const std::vector<std::pair<std::string, Value>> &given) {
        object([&] {
            for (const auto &[name, one] : given) field(name, one);
        });
    }

    // Whatever has a function `write(JsonWriter &, value)` beside it, or is one that writes.
    template <class Value> std::enable_if_t<std::is_class_v<Value>> value(const Value &given) {
        if constexpr (std::is_invocable_v<Value>)
            given();
        else
            write(*this, given);
    }

    std::string take() { return std::move(text_); }

   private:
    template <class Values> void list(const Values &given) {
        within('[', ']', [&] {
            for (const auto &one : given) {
                separate();
                value(one);
            }
        });
    }

    template <class Fill> void within(char opening, char closing, const Fill &fill) {
        text_ += opening;
        first_ = true;
        fill();
        first_ = false;
        text_ += closing;
    }

    void separate() {
        if (!first_) text_ += ", ";
        first_ = false;
    }

    std::string text_;
    bool first_ = true;
};

}  // namespace mmcaf
