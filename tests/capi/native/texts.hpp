// How the tests call parts of the library: texts in, a text out, which they give back to mmcaf_testing_free.

#pragma once

#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#include "error.hpp"

#define MMCAF_TESTING_API extern "C" __attribute__((visibility("default")))

namespace mmcaf {

inline char *given_out(const std::string &text) {
    char *copy = static_cast<char *>(std::malloc(text.size() + 1));
    std::memcpy(copy, text.c_str(), text.size() + 1);
    return copy;
}

// What `work` gives; of an error, its JSON.
template <class Work> char *answered(const Work &work) {
    try {
        return given_out(work());
    } catch (const Error &failure) {
        return given_out(failure.json());
    }
}

}  // namespace mmcaf
