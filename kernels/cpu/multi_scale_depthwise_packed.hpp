// The multi-scale kernel with instructions that multiply several pairs at once, for files with AVX-512.
//
// Dot says which: SIZE pairs, Sum, start(address), multiply(sum, values, taps), floats(sum), middle(values, place) and
// stage(planes, to), which lays the values of SIZE planes together.

#pragma once

#include "multi_scale_depthwise_columns.hpp"
#include "multi_scale_depthwise_packs.hpp"

namespace mmcaf {
namespace {

static constexpr int COLUMNS = 2;

// Rows and columns around the task's as [packs, rows, columns, PACK_BYTES].
template <class Dot, int Z, bool HALO>
void stage_packs(const MultiScaleTask &task, int64_t rows, int64_t columns, int8_t *to) {
    using P = Packs<Z, HALO, Dot::SIZE>;
    const Extent &map = task.map;
    const int64_t channels = map.channels - task.channel < BLOCK ? map.channels - task.channel : BLOCK;
    const int64_t apart = rows * columns * PACK_BYTES;
    for (int64_t y = task.row - 2; y < task.row - 2 + rows; ++y) {
        for (int64_t x = -2; x < columns - 2; ++x, to += PACK_BYTES) {
            const bool inside = y >= 0 && y < map.height && x >= 0 && x < map.width;
            for (int pack = 0; pack < P::COUNT; ++pack) {
                int64_t planes[Dot::SIZE];  // -1 outside the map
                for (int k = 0; k < Dot::SIZE; ++k) {
                    const int64_t z = task.plane + P::first(pack) + k;
                    planes[k] = inside && z >= 0 && z < map.depth ? place_of(map, task.n, z, y, x, task.channel) : -1;
                }
                Dot::stage(task.x, planes, channels, to + pack * apart);
            }
        }
    }
}

template <class Dot, int Z> struct PackedSums {
    typename Dot::Sum five[Z][COLUMNS], three[Z][COLUMNS];
};

// The taps of one size in one row and column, on all planes.
template <class Dot, int Z, bool HALO, int REACH>
inline __attribute__((always_inline)) const int8_t *add(const __m512i (*values)[COLUMNS], const int8_t *weights,
                                                        typename Dot::Sum (*sums)[COLUMNS]) {
    using P = Packs<Z, HALO, Dot::SIZE>;
#pragma GCC unroll 8
    for (int z = 0; z < Z; ++z) {
#pragma GCC unroll 4
        for (int pack = 0; pack < P::COUNT; ++pack) {
            if (!P::reads(pack, z, REACH)) continue;
            const __m512i taps = _mm512_load_si512(weights);
            weights += PACK_BYTES;
#pragma GCC unroll 2
            for (int i = 0; i < COLUMNS; ++i) sums[z][i] = Dot::multiply(sums[z][i], values[pack][i], taps);
        }
    }
    return weights;
}

template <class Dot, int Z, bool HALO, bool INNER>
inline __attribute__((always_inline)) const int8_t *add_row(const int8_t *from, int64_t apart, const int8_t *weights,
                                                            PackedSums<Dot, Z> &sums) {
    constexpr int COUNT = Packs<Z, HALO, Dot::SIZE>::COUNT;
#pragma GCC unroll 5
    for (int column = 0; column < 5; ++column) {
        __m512i values[COUNT][COLUMNS];
#pragma GCC unroll 4
        for (int pack = 0; pack < COUNT; ++pack) {
#pragma GCC unroll 2
            for (int i = 0; i < COLUMNS; ++i) {
                values[pack][i] = _mm512_load_si512(from + pack * apart + (column + i) * PACK_BYTES);
            }
        }
        weights = add<Dot, Z, HALO, 2>(values, weights, sums.five);
        if (INNER && column > 0 && column < 4) weights = add<Dot, Z, HALO, 1>(values, weights, sums.three);
    }
    return weights;
}

inline Lanes::Floats relu6_of(Lanes::Floats sum, const float *last, int size) {
    const Lanes::Floats scaled =
        Lanes::fma(sum, Lanes::load(last + (1 + size) * BLOCK), Lanes::load(last + (4 + size) * BLOCK));
    return Lanes::clamp(scaled, Lanes::zero(), Lanes::all(6));
}

// Sums [Z][COLUMNS][PARTS] of the columns from `from` on.
template <class Dot, int Z, bool HALO>
inline void compute(const int8_t *from, int64_t row_apart, int64_t apart, const MultiScaleTask &task,
                    Lanes::Floats (*sums)[COLUMNS][PARTS]) {
    using P = Packs<Z, HALO, Dot::SIZE>;
    const int8_t *starts = task.packs + P::VECTORS() * PACK_BYTES;
    const float *last = task.weights + MULTI_SCALE_LAST * BLOCK;
    PackedSums<Dot, Z> own;
#pragma GCC unroll 8
    for (int z = 0; z < Z; ++z) {
#pragma GCC unroll 2
        for (int i = 0; i < COLUMNS; ++i) {
            own.three[z][i] = Dot::start(starts + z * PACK_BYTES);
            own.five[z][i] = Dot::start(starts + (Z + z) * PACK_BYTES);
        }
    }
    const int8_t *weights = add_row<Dot, Z, HALO, false>(from, apart, task.packs, own);
#pragma GCC unroll 1
    for (int y = 1; y < 4; ++y) weights = add_row<Dot, Z, HALO, true>(from + y * row_apart, apart, weights, own);
    add_row<Dot, Z, HALO, false>(from + 4 * row_apart, apart, weights, own);
    const int8_t *centre = from + 2 * row_apart + 2 * PACK_BYTES;
    const Lanes::Floats tap = Lanes::load(last);
#pragma GCC unroll 8
    for (int z = 0; z < Z; ++z) {
        const int pack = P::of_plane(z);
#pragma GCC unroll 2
        for (int i = 0; i < COLUMNS; ++i) {
            const __m512i middle = _mm512_load_si512(centre + pack * apart + i * PACK_BYTES);
            const Lanes::Floats one = Lanes::multiply(Dot::middle(middle, z - P::first(pack)), tap);
            sums[z][i][0] = Lanes::add(Lanes::add(relu6_of(one, last, 0), relu6_of(Dot::floats(own.three[z][i]), last, 1)),
                                       relu6_of(Dot::floats(own.five[z][i]), last, 2));
        }
    }
}

template <class Dot> struct InPacks {
    template <int Z, bool HALO> static void sum_up(const MultiScaleTask &task) {
        const int64_t columns = task.map.width + 3 + COLUMNS, rows = task.rows + 4;
        int8_t *staged = static_cast<int8_t *>(task.room);
        stage_packs<Dot, Z, HALO>(task, rows, columns, staged);
        const int64_t row_apart = columns * PACK_BYTES, apart = rows * row_apart;
        float *kept = reinterpret_cast<float *>(staged + Packs<Z, HALO, Dot::SIZE>::COUNT * apart);
        each_column<Z, COLUMNS>(task, kept, [&](int64_t y, int64_t x, auto &sums) {
            compute<Dot, Z, HALO>(staged + y * row_apart + x * PACK_BYTES, row_apart, apart, task, sums);
        });
    }
};

}  // namespace
}  // namespace mmcaf
