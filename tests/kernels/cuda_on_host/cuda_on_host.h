// What a CUDA source needs of the language and its headers, as C++ for the CPU. All of it is in this folder, so that
// neither nvcc nor its headers are needed. What is missing here does not compile: add it when a kernel uses it.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#ifndef MMCAF_NAMES  // while the names of the kernels are looked for, they keep their mark
#define __global__ inline
#endif
#define __device__
#define __host__
#define __shared__
#define __forceinline__ inline
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)

struct Index {
  unsigned x, y, z;
};
extern thread_local Index threadIdx, blockIdx, blockDim, gridDim;

void meet(int line);
#define __syncthreads() meet(__LINE__)

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned mmcaf_bits(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
