// What the functions for Python have in common.

#pragma once

#include <cstdint>
#include <cstdio>
#include <exception>
#include <new>

#include "../extent.hpp"
#include "export.hpp"
#include "threads.hpp"

namespace mmcaf {

static constexpr size_t REASON_BYTES = 200;

inline Extent extent_of(const int64_t *lengths) { return {lengths[0], lengths[1], lengths[2], lengths[3], lengths[4]}; }
inline Stored stored_of(int32_t type, float step) { return {static_cast<Type>(type), step}; }

// What `make` gives, or null with the reason in words, REASON_BYTES at most.
template <class Kernel, class Make> Kernel *made(char *reason, const Make &make) {
    try {
        return make();
    } catch (const std::exception &failure) {
        std::snprintf(reason, REASON_BYTES, "%s", failure.what());
        return nullptr;
    }
}

constexpr int32_t RAN = 0, OUT_OF_MEMORY = 1;

// What `run` came to, for a caller whom no exception may reach.
template <class Run> int32_t ran(const Run &run) {
    try {
        run();
    } catch (const std::bad_alloc &) {
        return OUT_OF_MEMORY;
    }
    return RAN;
}

}  // namespace mmcaf
