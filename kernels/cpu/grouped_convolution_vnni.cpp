// The grouped convolution of i8 maps with VNNI, in whole numbers.

#include "bytes_avx512.hpp"
#include "grouped_convolution_columns.hpp"

namespace mmcaf {
namespace {

// [planes, rows, columns, 16] bytes.
void stage_bytes(const GroupedTask &task, const Box &box, int8_t *to) {
    const Extent &map = task.map;
    const int64_t channels = map.channels - task.channel < BLOCK ? map.channels - task.channel : BLOCK;
    for (int64_t z = box.plane; z < box.plane + box.planes; ++z) {
        for (int64_t y = box.row; y < box.row + box.rows; ++y) {
            const bool inside = z >= 0 && z < map.depth && y >= 0 && y < map.height;
            for (int64_t x = box.column; x < box.column + box.columns; ++x, to += BLOCK) {
                __m128i bytes = no_bytes();
                if (inside && x >= 0 && x < map.width) {
                    const int64_t at = place_of(map, task.n, z, y, x, task.channel);
                    bytes = load_bytes(static_cast<const int8_t *>(task.x) + at, channels);
                }
                _mm_store_si128(reinterpret_cast<__m128i *>(to), bytes);
            }
        }
    }
}

// Of 16 bytes, the four with number 4 j to 4 j + 3 of each lane's group.
template <int GROUP> inline __m512i of_group(const int8_t *from, int j) {
    if constexpr (GROUP == 16) {
        int32_t four;
        __builtin_memcpy(&four, from + 4 * j, sizeof four);
        return _mm512_set1_epi32(four);
    } else {
        const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        const __m512i group = GROUP == 4 ? _mm512_srli_epi32(lane, 2) : _mm512_slli_epi32(_mm512_srli_epi32(lane, 3), 1);
        const __m512i four = _mm512_add_epi32(group, _mm512_set1_epi32(j));
        const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i *>(from));
        return _mm512_permutexvar_epi32(four, _mm512_zextsi128_si512(bytes));
    }
}

template <int GROUP, int STRIDE>
inline void compute(const int8_t *from, int64_t row_apart, int64_t plane_apart, const int8_t *weights,
                    Lanes::Floats (*sums)[PARTS]) {
    constexpr int QUADS = GROUP / 4;
    __m512i own[COLUMNS];
    const __m512i start = _mm512_load_si512(weights + 27 * QUADS * 64);
#pragma GCC unroll 12
    for (int i = 0; i < COLUMNS; ++i) own[i] = start;
#pragma GCC unroll 1
    for (int kz = 0; kz < 3; ++kz) {
#pragma GCC unroll 3
        for (int ky = 0; ky < 3; ++ky, weights += 3 * QUADS * 64) {
            const int8_t *row = from + kz * plane_apart + ky * row_apart;
#pragma GCC unroll 4
            for (int j = 0; j < QUADS; ++j) {
                __m512i tap[3];
#pragma GCC unroll 3
                for (int kx = 0; kx < 3; ++kx) tap[kx] = _mm512_load_si512(weights + (kx * QUADS + j) * 64);
#pragma GCC unroll 25
                for (int at = 0; at < (COLUMNS - 1) * STRIDE + 3; ++at) {
                    const __m512i value = of_group<GROUP>(row + at * BLOCK, j);
#pragma GCC unroll 3
                    for (int kx = 0; kx < 3; ++kx) {
                        const int i = (at - kx) / STRIDE;
                        if (at < kx || (at - kx) % STRIDE || i >= COLUMNS) continue;
                        own[i] = _mm512_dpbusd_epi32(own[i], value, tap[kx]);
                    }
                }
            }
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < COLUMNS; ++i) sums[i][0] = _mm512_cvtepi32_ps(own[i]);
}

struct InWholeNumbers {
    template <int GROUP, int STRIDE> static void convolve(const GroupedTask &task) {
        const Box box{task.plane * STRIDE - 1,
                      read_by(task.planes, STRIDE),
                      task.row * STRIDE - 1,
                      read_by(task.rows, STRIDE),
                      -1,
                      staged_columns(task.answer, STRIDE)};
        int8_t *staged = static_cast<int8_t *>(task.room);
        stage_bytes(task, box, staged);
        const int64_t row_apart = box.columns * BLOCK, plane_apart = box.rows * row_apart;
        each_column(task, [&](int64_t z, int64_t y, int64_t x, auto &sums) {
            const int8_t *from = staged + z * STRIDE * plane_apart + y * STRIDE * row_apart + x * STRIDE * BLOCK;
            compute<GROUP, STRIDE>(from, row_apart, plane_apart, task.bytes, sums);
        });
    }
};

}  // namespace

void grouped_vnni(const GroupedTask &task) { convolve<InWholeNumbers>(task); }

}  // namespace mmcaf
