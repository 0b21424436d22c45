// Runs the CUDA kernel of msdc.cu on the CPU, one block after the other, one thread per CUDA thread, so that its
// indexing, its halo and its rounding can be compared with the reference on a machine without a GPU.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <barrier>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#undef __global__
#undef __device__
#undef __shared__
#undef __forceinline__
#define __global__
#define __device__
#define __shared__
#define __forceinline__ inline

namespace {
struct Index {
  unsigned x;
};
thread_local Index threadIdx, blockIdx, blockDim, gridDim;
std::unique_ptr<std::barrier<>> meeting;
void __syncthreads() { meeting->arrive_and_wait(); }
float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
}  // namespace

#include "msdc.cu"

alignas(16) unsigned char mmcaf_shared[1 << 20];

extern "C" void run_msdc(const char* name, unsigned blocks, unsigned threads, const void* x, const float* taps,
                         const float* bias, const int* order, void* out, int64_t rows, int channels, int depth,
                         int height, int width, int tile_height, int tile_width, int slots) {
  std::memset(mmcaf_shared, 0xff, sizeof mmcaf_shared);  // NaN in every type
  for (unsigned block = 0; block < blocks; ++block) {
    meeting = std::make_unique<std::barrier<>>(threads);
    std::vector<std::thread> team;
    for (unsigned thread = 0; thread < threads; ++thread) {
      team.emplace_back([=] {
        threadIdx.x = thread, blockIdx.x = block, blockDim.x = threads, gridDim.x = blocks;
#define MMCAF_CASE(NAME, T)                                                                                     \
  if (!std::strcmp(name, #NAME))                                                                                \
    NAME(static_cast<const T*>(x), taps, bias, order, static_cast<T*>(out), rows, channels, depth, height, width, \
         tile_height, tile_width, slots);
#define MMCAF_CASES(TYPE, T)             \
  MMCAF_CASE(msdc_##TYPE##_whole2, T)    \
  MMCAF_CASE(msdc_##TYPE##_whole3, T)    \
  MMCAF_CASE(msdc_##TYPE##_whole6, T)    \
  MMCAF_CASE(msdc_##TYPE##_stack4, T)
        MMCAF_CASES(fp32, float)
        MMCAF_CASES(fp16, __half)
        MMCAF_CASES(bf16, __nv_bfloat16)
      });
    }
    for (std::thread& member : team) member.join();
  }
}
