// bfloat16: storage, and conversions that round to the nearest, ties to even.

#pragma once

#include "cuda_on_host.h"

struct __nv_bfloat16 {
  uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  const unsigned all = mmcaf_bits(value);
  if ((all & 0x7fffffff) > 0x7f800000) return {0x7fff};
  return {static_cast<uint16_t>((all + 0x7fff + (all >> 16 & 1)) >> 16)};
}
inline float __bfloat162float(__nv_bfloat16 value) { return __int_as_float(static_cast<int>(unsigned{value.bits} << 16)); }
inline float2 __bfloat1622float2(__nv_bfloat162 two) { return {__bfloat162float(two.x), __bfloat162float(two.y)}; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__float2bfloat16_rn(x), __float2bfloat16_rn(y)};
}
