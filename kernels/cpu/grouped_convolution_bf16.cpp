// The grouped convolution of bf16 maps whose taps are bf16 too, with products of pairs.

#include "lanes_avx512.hpp"

#include "grouped_convolution_columns.hpp"

namespace mmcaf {
namespace {

// [planes, rows, columns, 16]
void stage_bits(const GroupedTask &task, const Box &box, uint16_t *to) {
    const Extent &map = task.map;
    const int64_t channels = map.channels - task.channel < BLOCK ? map.channels - task.channel : BLOCK;
    const __mmask16 inside_block = static_cast<__mmask16>((1u << channels) - 1);
    for (int64_t z = box.plane; z < box.plane + box.planes; ++z) {
        for (int64_t y = box.row; y < box.row + box.rows; ++y) {
            const bool inside = z >= 0 && z < map.depth && y >= 0 && y < map.height;
            for (int64_t x = box.column; x < box.column + box.columns; ++x, to += BLOCK) {
                __m256i bits = _mm256_setzero_si256();
                if (inside && x >= 0 && x < map.width) {
                    const int64_t at = place_of(map, task.n, z, y, x, task.channel);
                    bits = _mm256_maskz_loadu_epi16(inside_block, static_cast<const uint16_t *>(task.x) + at);
                }
                _mm256_store_si256(reinterpret_cast<__m256i *>(to), bits);
            }
        }
    }
}

// Of 16 values, numbers 2 j and 2 j + 1 of each lane's group.
template <int GROUP> inline __m512i of_group(const uint16_t *from, int j) {
    if constexpr (GROUP == 16) {
        int32_t two;
        __builtin_memcpy(&two, from + 2 * j, sizeof two);
        return _mm512_set1_epi32(two);
    } else {
        const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        const __m512i group = _mm512_slli_epi32(_mm512_srli_epi32(lane, GROUP == 4 ? 2 : 3), GROUP == 4 ? 1 : 2);
        const __m512i two = _mm512_add_epi32(group, _mm512_set1_epi32(j));
        const __m256i values = _mm256_load_si256(reinterpret_cast<const __m256i *>(from));
        return _mm512_permutexvar_epi32(two, _mm512_zextsi256_si512(values));
    }
}

template <int GROUP, int STRIDE>
inline void compute(const uint16_t *from, int64_t row_apart, int64_t plane_apart, const uint16_t *weights,
                    Lanes::Floats (*sums)[PARTS]) {
    constexpr int PAIRS = GROUP / 2;
    __m512 own[COLUMNS];
#pragma GCC unroll 12
    for (int i = 0; i < COLUMNS; ++i) own[i] = Lanes::zero();
#pragma GCC unroll 1
    for (int kz = 0; kz < 3; ++kz) {
#pragma GCC unroll 1
        for (int ky = 0; ky < 3; ++ky, weights += 3 * PAIRS * 32) {
            const uint16_t *row = from + kz * plane_apart + ky * row_apart;
#pragma GCC unroll 4
            for (int j = 0; j < PAIRS; ++j) {
                __m512i tap[3];
#pragma GCC unroll 3
                for (int kx = 0; kx < 3; ++kx) tap[kx] = _mm512_load_si512(weights + (kx * PAIRS + j) * 32);
#pragma GCC unroll 25
                for (int at = 0; at < (COLUMNS - 1) * STRIDE + 3; ++at) {
                    const __m512i value = of_group<GROUP>(row + at * BLOCK, j);
#pragma GCC unroll 3
                    for (int kx = 0; kx < 3; ++kx) {
                        const int i = (at - kx) / STRIDE;
                        if (at < kx || (at - kx) % STRIDE || i >= COLUMNS) continue;
                        own[i] = _mm512_dpbf16_ps(own[i], reinterpret_cast<__m512bh>(value),
                                                  reinterpret_cast<__m512bh>(tap[kx]));
                    }
                }
            }
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < COLUMNS; ++i) sums[i][0] = own[i];
}

struct InPairs {
    template <int GROUP, int STRIDE> static void convolve(const GroupedTask &task) {
        const Box box{task.plane * STRIDE - 1,
                      read_by(task.planes, STRIDE),
                      task.row * STRIDE - 1,
                      read_by(task.rows, STRIDE),
                      -1,
                      staged_columns(task.answer, STRIDE)};
        uint16_t *staged = static_cast<uint16_t *>(task.room);
        stage_bits(task, box, staged);
        const int64_t row_apart = box.columns * BLOCK, plane_apart = box.rows * row_apart;
        each_column(task, [&](int64_t z, int64_t y, int64_t x, auto &sums) {
            const uint16_t *from = staged + z * STRIDE * plane_apart + y * STRIDE * row_apart + x * STRIDE * BLOCK;
            compute<GROUP, STRIDE>(from, row_apart, plane_apart, task.pairs, sums);
        });
    }
};

}  // namespace

void grouped_bf16(const GroupedTask &task) { convolve<InPairs>(task); }

}  // namespace mmcaf
