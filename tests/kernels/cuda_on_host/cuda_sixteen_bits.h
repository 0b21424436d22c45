// Numbers of 16 bits, half precision and bfloat16: storage, and conversions that round to the nearest, ties to even.

#pragma once

#include "cuda_on_host.h"

// EXPONENT: how many of the bits are the exponent's; one is the sign's, and the rest are the fraction's.
template <int EXPONENT>
struct Sixteen {
  static constexpr unsigned dropped = 8 + EXPONENT;  // bits of a float's fraction that it has no room for
  static constexpr unsigned infinity = 0x7fff & ~0u << (15 - EXPONENT);
  static constexpr int bias = (1 << (EXPONENT - 1)) - 1;
  uint16_t bits;

  static Sixteen rounded(float value) {
    const unsigned all = mmcaf_bits(value), size = all & 0x7fffffff;
    if (size > 0x7f800000) return {0x7fff};  // the one NaN that CUDA makes
    unsigned made;
    if (size < unsigned(128 - bias) << 23) {  // less than its smallest normal number: in steps of the smallest of all
      made = static_cast<unsigned>(std::nearbyint(std::ldexp(double(__int_as_float(int(size))), 14 + bias - EXPONENT)));
    } else {
      made = (size + (1u << (dropped - 1)) - 1 + (size >> dropped & 1) - (unsigned(127 - bias) << 23)) >> dropped;
    }
    return {static_cast<uint16_t>((all >> 16 & 0x8000) | std::min(made, infinity))};
  }

  float widened() const {
    const unsigned size = bits & 0x7fff;
    float value = size > infinity ? NAN : INFINITY;
    if (size < infinity) value = std::ldexp(__int_as_float(int(size << dropped)), 127 - bias);
    return bits & 0x8000 ? -value : value;
  }
};

using __half = Sixteen<5>;
using __nv_bfloat16 = Sixteen<8>;
struct alignas(4) __half2 {
  __half x, y;
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline __half __float2half_rn(float value) { return __half::rounded(value); }
inline float __half2float(__half value) { return value.widened(); }
inline float2 __half22float2(__half2 two) { return {two.x.widened(), two.y.widened()}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__half::rounded(x), __half::rounded(y)}; }

inline __nv_bfloat16 __float2bfloat16_rn(float value) { return __nv_bfloat16::rounded(value); }
inline float __bfloat162float(__nv_bfloat16 value) { return value.widened(); }
inline float2 __bfloat1622float2(__nv_bfloat162 two) { return {two.x.widened(), two.y.widened()}; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__nv_bfloat16::rounded(x), __nv_bfloat16::rounded(y)};
}
