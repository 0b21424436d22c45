// One call of a C function: whatever it throws becomes a code, and this thread's last error.
#pragma once

#include <functional>
#include <string>

#include "error.hpp"

namespace mmcaf {

// Of a function that answers a code.
mmcaf_code called(const std::function<void()> &work) noexcept;

// As `called`, of a function that answers a value, which is `otherwise` where it fails.
template <class Value> Value told(const std::function<Value()> &work, Value otherwise) noexcept {
    called([&] { otherwise = work(); });
    return otherwise;
}

const mmcaf_error *last_error() noexcept;

// Throws Error MMCAF_USAGE: a pointer that must not be NULL is.
void require(const void *pointer, const char *name);

// The caller's callbacks must not throw; what comes from C++ all the same is our caller's fault, and is said to be.
template <class Result, class... Given, class... Arguments>
Result call_back(const char *name, Result (*function)(Given...), Arguments... arguments) {
    try {
        return function(arguments...);
    } catch (...) {
        throw Error(MMCAF_USAGE, std::string("The callback ") + name + " threw an exception, which no callback may.",
                    {{"Catch it there, and return what ends the call", "", "", ""}});
    }
}

}  // namespace mmcaf
