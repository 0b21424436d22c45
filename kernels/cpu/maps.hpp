// Maps between operators: values of one of four types, channels last, without gaps.

#pragma once

#include <cstdint>
#include <cstring>

namespace mmcaf {

// The numbers are those that Python passes.
enum class Type : int32_t { none = 0, f32 = 1, bf16 = 2, i8 = 3, u8 = 4 };

struct Map {
    const void *data = nullptr;
    Type type = Type::none;
    explicit operator bool() const { return type != Type::none; }
};

struct Output {
    void *data = nullptr;
    Type type = Type::none;
    explicit operator bool() const { return type != Type::none; }
};

namespace {

inline float widened(uint16_t bf16) {
    const uint32_t bits = static_cast<uint32_t>(bf16) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// To the nearest, to even between two; NaN stays one.
[[maybe_unused]] inline uint16_t narrowed(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits >> 16) | 0x40);
    return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

[[maybe_unused]] inline float value_at(const Map &map, int64_t at) {
    return map.type == Type::f32 ? static_cast<const float *>(map.data)[at]
                                 : widened(static_cast<const uint16_t *>(map.data)[at]);
}

}  // namespace
}  // namespace mmcaf
