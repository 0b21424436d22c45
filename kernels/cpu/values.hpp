// One value of a map, as the plain kernels read and write it.

#pragma once

#include <cmath>

#include "extent.hpp"

namespace mmcaf {
namespace {

// An i8 value in steps, the others as they are.
inline float read_value(const void *map, Type type, int64_t at) {
    if (type == Type::f32) return static_cast<const float *>(map)[at];
    if (type == Type::i8) return static_cast<const int8_t *>(map)[at];
    return widened(static_cast<const uint16_t *>(map)[at]);
}

// Rounded to the nearest, ties to even; beyond what i8 holds, its limit, of NaN the lower one.
inline void write_value(void *map, const Stored &stored, int64_t at, float value) {
    if (stored.type == Type::f32) {
        static_cast<float *>(map)[at] = value;
    } else if (stored.type == Type::bf16) {
        static_cast<uint16_t *>(map)[at] = narrowed(value);
    } else {
        const float steps = std::nearbyint(value * (1.0f / stored.step));
        static_cast<int8_t *>(map)[at] = static_cast<int8_t>(steps > 127 ? 127 : steps >= -128 ? steps : -128);
    }
}

}  // namespace
}  // namespace mmcaf
