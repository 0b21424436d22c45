// Half precision: storage, and conversions that round to the nearest, ties to even.

#pragma once

#include "cuda_on_host.h"

struct __half {
  uint16_t bits;
};
struct alignas(4) __half2 {
  __half x, y;
};

inline __half __float2half_rn(float value) {
  const unsigned all = mmcaf_bits(value);
  const unsigned sign = all >> 16 & 0x8000, size = all & 0x7fffffff;
  unsigned made;
  if (size > 0x7f800000) {
    return {0x7fff};  // the one NaN that CUDA makes
  } else if (size >= 0x477ff000) {
    made = 0x7c00;  // 65520 is nearer to 2^16 than to 65504
  } else if (size < 0x38800000) {
    made = static_cast<unsigned>(std::nearbyint(__int_as_float(static_cast<int>(size)) * 0x1p24f));  // in steps of 2^-24
  } else {
    made = (size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13;  // the exponent's bias is 15 instead of 127
  }
  return {static_cast<uint16_t>(sign | made)};
}
inline float __half2float(__half value) {
  const unsigned exponent = value.bits >> 10 & 0x1f, fraction = value.bits & 0x3ff;
  float size;
  if (exponent == 0x1f) {
    size = fraction ? NAN : INFINITY;
  } else {
    size = exponent ? std::ldexp(1024.0f + static_cast<float>(fraction), static_cast<int>(exponent) - 25)
                    : std::ldexp(static_cast<float>(fraction), -24);
  }
  return value.bits & 0x8000 ? -size : size;
}
inline float2 __half22float2(__half2 two) { return {__half2float(two.x), __half2float(two.y)}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
