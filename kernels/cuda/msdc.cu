// Multi-scale depthwise 3D convolution: sum over k in {1, 3, 5} of ReLU6(depthwise_k(x) + bias_k).
//
// The CUDA twin of mmcaf_kernels/msdc. A block makes a tile of some channels' rows and columns, and a
// stack of their slices, from a tile with halo in shared memory that is read from global memory in
// 16-byte pieces where rows are aligned. A thread makes four neighbouring columns of every slice: it
// reads eight values of a line as packed pairs and uses each for up to 5 x 5 outputs. Values keep their
// type in shared memory; products and sums are float32, which costs nothing on GeForce cards since
// Ampere, where packed half arithmetic is no faster. Any shape: tiles are bounds-checked, blocks stride
// over the work.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

namespace {

constexpr int STRIP = 4;  // columns of a thread
constexpr int FIVE = 0;   // a channel's weights in shared memory: rows of 5 in 8 floats,
constexpr int THREE = 200;  // rows of 3 in 4 floats,
constexpr int ONE = 236;    // the single tap,
constexpr int BIAS = 237;   // and the three biases
constexpr int WEIGHTS = 240;
constexpr int TAPS = 153;

__device__ __forceinline__ float2 pair(const float* at) { return *reinterpret_cast<const float2*>(at); }
__device__ __forceinline__ float2 pair(const __half* at) {
  return __half22float2(*reinterpret_cast<const __half2*>(at));
}
__device__ __forceinline__ float2 pair(const __nv_bfloat16* at) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(at));
}

__device__ __forceinline__ void put(float* at, float value) { *at = value; }
__device__ __forceinline__ void put(__half* at, float value) { *at = __float2half_rn(value); }
__device__ __forceinline__ void put(__nv_bfloat16* at, float value) { *at = __float2bfloat16_rn(value); }

__device__ __forceinline__ void put_four(float* at, const float* v) {
  *reinterpret_cast<float4*>(at) = make_float4(v[0], v[1], v[2], v[3]);
}
__device__ __forceinline__ void put_four(__half* at, const float* v) {
  reinterpret_cast<__half2*>(at)[0] = __floats2half2_rn(v[0], v[1]);
  reinterpret_cast<__half2*>(at)[1] = __floats2half2_rn(v[2], v[3]);
}
__device__ __forceinline__ void put_four(__nv_bfloat16* at, const float* v) {
  reinterpret_cast<__nv_bfloat162*>(at)[0] = __floats2bfloat162_rn(v[0], v[1]);
  reinterpret_cast<__nv_bfloat162*>(at)[1] = __floats2bfloat162_rn(v[2], v[3]);
}

// Comparisons rather than fminf and fmaxf: a NaN stays one.
__device__ __forceinline__ float relu6(float value) {
  value = value < 0.0f ? 0.0f : value;
  return value > 6.0f ? 6.0f : value;
}

struct Shape {
  int64_t rows;  // samples times channels
  int channels, depth, height, width;
  int tile_height, tile_width;  // the width a multiple of the elements in 16 bytes
  int slots;                    // rows of the output per block
};

// The rows of the output that a block makes at a time; slots are not more than channels.
struct Rows {
  int64_t first;
  int channel;  // of the first
};

// The channel of a slot in the output. A remainder of 64 bits would cost a hundred instructions each time.
__device__ __forceinline__ int target_channel(const Shape& shape, const Rows& rows, int slot) {
  const int channel = rows.channel + slot;
  return channel < shape.channels ? channel : channel - shape.channels;
}

// Where a slot reads: its channel before the shuffle, or -1 when there is none.
__device__ __forceinline__ int source_channel(const int* order, const Shape& shape, const Rows& rows, int slot) {
  if (rows.first + slot >= shape.rows) return -1;
  const int target = target_channel(shape, rows, slot);
  const int source = order == nullptr ? target : order[target];
  return source >= 0 && source < shape.channels ? source : -1;
}

template <typename T, int PLANES>
__device__ __forceinline__ void load_tile(const T* x, const int* order, const Shape& shape, const Rows& rows, int z0,
                                          int y0, int x0, T* tile) {
  constexpr int PIECE = 16 / sizeof(T);
  const int lines = shape.tile_height + 4;
  const int pieces = shape.tile_width / PIECE + 2;
  const int total = shape.slots * PLANES * lines;
  const int step = static_cast<int>(blockDim.x) / pieces;  // lines at a time, a thread for each piece; at least one
  const int piece_of_line = static_cast<int>(threadIdx.x) % pieces;
  const int column = x0 + (piece_of_line - 1) * PIECE;
  const int first = static_cast<int>(threadIdx.x) / pieces;
  for (int index = first < step ? first : total; index < total; index += step) {
    const int y = y0 + index % lines - 2;
    const int z = z0 + index / lines % PLANES;
    const int slot = index / lines / PLANES;
    const int source = source_channel(order, shape, rows, slot);
    uint4 piece = make_uint4(0, 0, 0, 0);
    if (source >= 0 && z >= 0 && z < shape.depth && y >= 0 && y < shape.height) {
      const int64_t row = rows.first + (slot - target_channel(shape, rows, slot) + source);
      const T* line = x + ((row * shape.depth + z) * shape.height + y) * shape.width;
      if (column >= 0 && column + PIECE <= shape.width && reinterpret_cast<uintptr_t>(line + column) % 16 == 0) {
        piece = *reinterpret_cast<const uint4*>(line + column);
      } else {
        T* values = reinterpret_cast<T*>(&piece);
        for (int k = 0; k < PIECE; ++k) {
          if (column + k >= 0 && column + k < shape.width) values[k] = line[column + k];
        }
      }
    }
    reinterpret_cast<uint4*>(tile)[index * pieces + piece_of_line] = piece;
  }
}

__device__ __forceinline__ void load_weights(const float* taps, const float* bias, const int* order,
                                             const Shape& shape, const Rows& rows, float* weights) {
  for (int index = threadIdx.x; index < shape.slots * (TAPS + 3); index += blockDim.x) {
    const int slot = index / (TAPS + 3);
    const int tap = index % (TAPS + 3);
    const int source = source_channel(order, shape, rows, slot);
    if (source < 0) continue;
    float* own = weights + slot * WEIGHTS;
    if (tap >= TAPS) {
      own[BIAS + tap - TAPS] = bias[source * 3 + tap - TAPS];
      continue;
    }
    const float value = taps[static_cast<int64_t>(source) * TAPS + tap];
    if (tap == 0) {
      own[ONE] = value;
    } else if (tap < 28) {
      own[THREE + (tap - 1) / 3 * 4 + (tap - 1) % 3] = value;
    } else {
      own[FIVE + (tap - 28) / 5 * 8 + (tap - 28) % 5] = value;
    }
  }
}

template <typename T, int SLICES, int HALO>
__device__ __forceinline__ void msdc(const T* __restrict__ x, const float* __restrict__ taps,
                                     const float* __restrict__ bias, const int* __restrict__ order,
                                     T* __restrict__ out, const Shape& shape, unsigned char* shared) {
  constexpr int PLANES = SLICES + 2 * HALO;
  constexpr int PIECE = 16 / sizeof(T);
  const int stride = shape.tile_width + 2 * PIECE;
  const int lines = shape.tile_height + 4;
  T* tile = reinterpret_cast<T*>(shared);
  float* weights = reinterpret_cast<float*>(tile + shape.slots * PLANES * lines * stride);

  const int strips = shape.tile_width / STRIP;
  const int slot = static_cast<int>(threadIdx.x) / (strips * shape.tile_height);
  const int line = static_cast<int>(threadIdx.x) / strips % shape.tile_height;
  const int strip = static_cast<int>(threadIdx.x) % strips;
  const bool busy = slot < shape.slots;

  const int tiles_x = (shape.width + shape.tile_width - 1) / shape.tile_width;
  const int tiles_y = (shape.height + shape.tile_height - 1) / shape.tile_height;
  const int stacks = (shape.depth + SLICES - 1) / SLICES;
  const int64_t groups = (shape.rows + shape.slots - 1) / shape.slots;
  const int64_t work = groups * stacks * tiles_y * tiles_x;
  for (int64_t item = blockIdx.x; item < work; item += gridDim.x) {
    const int x0 = static_cast<int>(item % tiles_x) * shape.tile_width;
    const int y0 = static_cast<int>(item / tiles_x % tiles_y) * shape.tile_height;
    const int z0 = static_cast<int>(item / tiles_x / tiles_y % stacks) * SLICES;
    const int64_t first_row = item / tiles_x / tiles_y / stacks * shape.slots;
    const Rows rows = {first_row, static_cast<int>(first_row % shape.channels)};
    __syncthreads();  // the last item's tile has been used
    load_tile<T, PLANES>(x, order, shape, rows, z0 - HALO, y0, x0, tile);
    load_weights(taps, bias, order, shape, rows, weights);
    __syncthreads();
    const int64_t row = first_row + slot;
    const int y = y0 + line;
    const int column = x0 + strip * STRIP;
    if (!busy || row >= shape.rows || y >= shape.height || column >= shape.width) continue;

    const float* own = weights + slot * WEIGHTS;
    const T* start = tile + (slot * PLANES * lines + line) * stride + PIECE + strip * STRIP;
    float three[SLICES][STRIP] = {};
    float five[SLICES][STRIP] = {};
#pragma unroll
    for (int p = 0; p < PLANES; ++p) {
#pragma unroll 1
      for (int i = 0; i < 5; ++i) {
        float v[STRIP + 4];
#pragma unroll
        for (int k = 0; k < STRIP + 4; k += 2) {
          const float2 two = pair(start + (p * lines + i) * stride + k - 2);
          v[k] = two.x;
          v[k + 1] = two.y;
        }
#pragma unroll
        for (int d = 0; d < SLICES; ++d) {
          const int t = p - HALO - d + 2;  // tap along depth
          if (t < 0 || t > 4) continue;
          const float* w = own + FIVE + (t * 5 + i) * 8;
          const float4 a = *reinterpret_cast<const float4*>(w);
          const float last = w[4];
#pragma unroll
          for (int r = 0; r < STRIP; ++r) {
            float sum = fmaf(a.x, v[r], five[d][r]);  // a chain: a sum of products added up would cost two more
            sum = fmaf(a.y, v[r + 1], sum);
            sum = fmaf(a.z, v[r + 2], sum);
            sum = fmaf(a.w, v[r + 3], sum);
            five[d][r] = fmaf(last, v[r + 4], sum);
          }
          if (t >= 1 && t <= 3 && i >= 1 && i <= 3) {
            const float4 b = *reinterpret_cast<const float4*>(own + THREE + ((t - 1) * 3 + i - 1) * 4);
#pragma unroll
            for (int r = 0; r < STRIP; ++r) {
              three[d][r] = fmaf(b.z, v[r + 3], fmaf(b.y, v[r + 2], fmaf(b.x, v[r + 1], three[d][r])));
            }
          }
        }
      }
    }

    const bool known = source_channel(order, shape, rows, slot) >= 0;
#pragma unroll
    for (int d = 0; d < SLICES; ++d) {
      if (z0 + d >= shape.depth) break;
      const T* centre = start + ((d + HALO) * lines + 2) * stride;
      float result[STRIP];
#pragma unroll
      for (int r = 0; r < STRIP; r += 2) {
        const float2 two = pair(centre + r);
        result[r] = relu6(own[ONE] * two.x + own[BIAS]);
        result[r + 1] = relu6(own[ONE] * two.y + own[BIAS]);
      }
#pragma unroll
      for (int r = 0; r < STRIP; ++r) {
        result[r] += relu6(three[d][r] + own[BIAS + 1]) + relu6(five[d][r] + own[BIAS + 2]);
        if (!known) result[r] = __int_as_float(0x7fc00000);
      }
      T* place = out + ((row * shape.depth + z0 + d) * shape.height + y) * shape.width + column;
      if (column + STRIP <= shape.width && reinterpret_cast<uintptr_t>(place) % (STRIP * sizeof(T)) == 0) {
        put_four(place, result);
      } else {
        for (int r = 0; r < STRIP && column + r < shape.width; ++r) put(place + r, result[r]);
      }
    }
  }
}

}  // namespace

extern __shared__ __align__(16) unsigned char mmcaf_shared[];

#define MMCAF_MSDC(NAME, T, SLICES, HALO)                                                                            \
  extern "C" __global__ void NAME(const T* x, const float* taps, const float* bias, const int* order, T* out,        \
                                  int64_t rows, int channels, int depth, int height, int width, int tile_height,     \
                                  int tile_width, int slots) {                                                       \
    const Shape shape = {rows, channels, depth, height, width, tile_height, tile_width, slots};                      \
    msdc<T, SLICES, HALO>(x, taps, bias, order, out, shape, mmcaf_shared);                                           \
  }

// wholeN: the volume is N slices deep; stack4: any depth.
MMCAF_MSDC(msdc_fp32_whole2, float, 2, 0)
MMCAF_MSDC(msdc_fp32_whole3, float, 3, 0)
MMCAF_MSDC(msdc_fp32_whole6, float, 6, 0)
MMCAF_MSDC(msdc_fp32_stack4, float, 4, 2)
MMCAF_MSDC(msdc_fp16_whole2, __half, 2, 0)
MMCAF_MSDC(msdc_fp16_whole3, __half, 3, 0)
MMCAF_MSDC(msdc_fp16_whole6, __half, 6, 0)
MMCAF_MSDC(msdc_fp16_stack4, __half, 4, 2)
MMCAF_MSDC(msdc_bf16_whole2, __nv_bfloat16, 2, 0)
MMCAF_MSDC(msdc_bf16_whole3, __nv_bfloat16, 3, 0)
MMCAF_MSDC(msdc_bf16_whole6, __nv_bfloat16, 6, 0)
MMCAF_MSDC(msdc_bf16_stack4, __nv_bfloat16, 4, 2)
