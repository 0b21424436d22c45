// The multi-scale kernel of i8 maps with VNNI: sums in whole numbers. Each starts with what the 128 add that
// are added to each value of the map.

#include "bytes_avx512.hpp"
#include "multi_scale_depthwise_columns.hpp"
#include "multi_scale_depthwise_quads.hpp"

namespace mmcaf {
namespace {

static constexpr int COLUMNS = 2;

// The planes v[0] to v[3] of 16 channels, the four of each channel together.
inline void store_quad(int8_t *to, const __m128i *v) {
    const __m128i low01 = _mm_unpacklo_epi8(v[0], v[1]), high01 = _mm_unpackhi_epi8(v[0], v[1]);
    const __m128i low23 = _mm_unpacklo_epi8(v[2], v[3]), high23 = _mm_unpackhi_epi8(v[2], v[3]);
    __m128i *quad = reinterpret_cast<__m128i *>(to);
    _mm_store_si128(quad, _mm_unpacklo_epi16(low01, low23));
    _mm_store_si128(quad + 1, _mm_unpackhi_epi16(low01, low23));
    _mm_store_si128(quad + 2, _mm_unpacklo_epi16(high01, high23));
    _mm_store_si128(quad + 3, _mm_unpackhi_epi16(high01, high23));
}

// Rows and columns around the task's as [quads, rows, columns, 64].
template <int Z, bool HALO> void stage_quads(const MultiScaleTask &task, int64_t rows, int64_t columns, int8_t *to) {
    using Q = Quads<Z, HALO>;
    const Extent &map = task.map;
    const int64_t channels = map.channels - task.channel < BLOCK ? map.channels - task.channel : BLOCK;
    const int64_t apart = rows * columns * 64;
    for (int64_t y = task.row - 2; y < task.row - 2 + rows; ++y) {
        for (int64_t x = -2; x < columns - 2; ++x, to += 64) {
            const bool inside = y >= 0 && y < map.height && x >= 0 && x < map.width;
            for (int quad = 0; quad < Q::COUNT; ++quad) {
                __m128i v[4];
                for (int k = 0; k < 4; ++k) {
                    const int64_t z = task.plane + Q::FIRST[quad] + k;
                    v[k] = no_bytes();
                    if (inside && z >= 0 && z < map.depth) {
                        const int64_t at = place_of(map, task.n, z, y, x, task.channel);
                        v[k] = load_bytes(static_cast<const int8_t *>(task.x) + at, channels);
                    }
                }
                store_quad(to + quad * apart, v);
            }
        }
    }
}

template <int Z> struct WholeSums {
    __m512i five[Z][COLUMNS], three[Z][COLUMNS];
};

template <int Z, bool HALO, bool INNER>
inline __attribute__((always_inline)) const int8_t *add_row(const int8_t *from, int64_t quad_apart, const int8_t *weights,
                                                            WholeSums<Z> &sums) {
    using Q = Quads<Z, HALO>;
#pragma GCC unroll 5
    for (int column = 0; column < 5; ++column) {
        __m512i value[2][COLUMNS];
#pragma GCC unroll 2
        for (int quad = 0; quad < Q::COUNT; ++quad) {
#pragma GCC unroll 2
            for (int i = 0; i < COLUMNS; ++i) {
                value[quad][i] = _mm512_load_si512(from + quad * quad_apart + (column + i) * 64);
            }
        }
#pragma GCC unroll 8
        for (int z = 0; z < Z; ++z) {
#pragma GCC unroll 2
            for (int quad = 0; quad < Q::COUNT; ++quad) {
                if (!Q::reads(quad, z, 2)) continue;
                const __m512i taps = _mm512_load_si512(weights);
                weights += 64;
#pragma GCC unroll 2
                for (int i = 0; i < COLUMNS; ++i) {
                    sums.five[z][i] = _mm512_dpbusd_epi32(sums.five[z][i], value[quad][i], taps);
                }
            }
        }
        if (!INNER || column == 0 || column == 4) continue;
#pragma GCC unroll 8
        for (int z = 0; z < Z; ++z) {
#pragma GCC unroll 2
            for (int quad = 0; quad < Q::COUNT; ++quad) {
                if (!Q::reads(quad, z, 1)) continue;
                const __m512i taps = _mm512_load_si512(weights);
                weights += 64;
#pragma GCC unroll 2
                for (int i = 0; i < COLUMNS; ++i) {
                    sums.three[z][i] = _mm512_dpbusd_epi32(sums.three[z][i], value[quad][i], taps);
                }
            }
        }
    }
    return weights;
}

inline __m512 relu6_of(__m512 sum, const float *last, int size) {
    const __m512 scaled = Lanes::fma(sum, Lanes::load(last + (1 + size) * BLOCK), Lanes::load(last + (4 + size) * BLOCK));
    return Lanes::clamp(scaled, Lanes::zero(), Lanes::all(6));
}

// Sums [Z][COLUMNS] of the columns from `from` on.
template <int Z, bool HALO>
inline void compute(const int8_t *from, int64_t row_apart, int64_t quad_apart, const MultiScaleTask &task,
                    __m512 (*sums)[COLUMNS][PARTS]) {
    using Q = Quads<Z, HALO>;
    const __m512i *starts = reinterpret_cast<const __m512i *>(task.quads + Q::VECTORS() * 64);
    const float *last = task.weights + MULTI_SCALE_LAST * BLOCK;
    WholeSums<Z> own;
#pragma GCC unroll 8
    for (int z = 0; z < Z; ++z) {
#pragma GCC unroll 2
        for (int i = 0; i < COLUMNS; ++i) {
            own.three[z][i] = starts[z];
            own.five[z][i] = starts[Z + z];
        }
    }
    const int8_t *weights = add_row<Z, HALO, false>(from, quad_apart, task.quads, own);
#pragma GCC unroll 1
    for (int y = 1; y < 4; ++y) weights = add_row<Z, HALO, true>(from + y * row_apart, quad_apart, weights, own);
    add_row<Z, HALO, false>(from + 4 * row_apart, quad_apart, weights, own);
    const int8_t *centre = from + 2 * row_apart + 2 * 64;
    const __m512 tap = Lanes::load(last);
#pragma GCC unroll 8
    for (int z = 0; z < Z; ++z) {
        const int quad = Q::holds(0, z) ? 0 : 1;
        const __m512i byte = _mm512_set1_epi32(1 << 8 * (z - Q::FIRST[quad]));
#pragma GCC unroll 2
        for (int i = 0; i < COLUMNS; ++i) {
            const __m512i middle = _mm512_load_si512(centre + quad * quad_apart + i * 64);
            const __m512i value = _mm512_dpbusd_epi32(_mm512_set1_epi32(-128), middle, byte);
            const __m512 one = Lanes::multiply(_mm512_cvtepi32_ps(value), tap);
            const __m512 three = _mm512_cvtepi32_ps(own.three[z][i]), five = _mm512_cvtepi32_ps(own.five[z][i]);
            sums[z][i][0] =
                Lanes::add(Lanes::add(relu6_of(one, last, 0), relu6_of(three, last, 1)), relu6_of(five, last, 2));
        }
    }
}

struct InWholeNumbers {
    template <int Z, bool HALO> static void sum_up(const MultiScaleTask &task) {
        const int64_t columns = task.map.width + 3 + COLUMNS, rows = task.rows + 4;
        int8_t *staged = static_cast<int8_t *>(task.room);
        stage_quads<Z, HALO>(task, rows, columns, staged);
        const int64_t row_apart = columns * 64, quad_apart = rows * row_apart;
        float *kept = reinterpret_cast<float *>(staged + Quads<Z, HALO>::COUNT * quad_apart);
        each_column<Z, COLUMNS>(task, kept, [&](int64_t y, int64_t x, auto &sums) {
            compute<Z, HALO>(staged + y * row_apart + x * 64, row_apart, quad_apart, task, sums);
        });
    }
};

}  // namespace

void multi_scale_vnni(const MultiScaleTask &task) { sum_up<InWholeNumbers>(task); }

}  // namespace mmcaf
