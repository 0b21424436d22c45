// The multi-scale kernel in float32, for files that have `Lanes`: i8 maps are computed in it too, exactly, since their
// sums stay below 2^24.

#pragma once

#include "multi_scale_depthwise_task.hpp"
#include "multi_scale_depthwise_columns.hpp"

namespace mmcaf {
namespace {

using Floats = Lanes::Floats;
static constexpr int COLUMNS = Lanes::REGISTERS == 32 ? 2 : 1;  // computed together, as many as there are registers for

template <int Z> struct Sums {
    Floats five[Z][COLUMNS], three[Z][COLUMNS];
};

// One row of the taps on one part of the channels. `from` is the staged first column of it in the first plane.
template <int Z, bool HALO, bool INNER>
inline __attribute__((always_inline)) const float *add_row(const float *from, int64_t plane_apart, const float *weights,
                                                           Sums<Z> &sums) {
    constexpr int PLANES = Z + (HALO ? 4 : 0);
    constexpr int FIRST = HALO ? 0 : 2;  // the tap of size 5 that the first plane meets in the first plane of the sum
#pragma GCC unroll 5
    for (int column = 0; column < 5; ++column) {
        const bool inner = INNER && column > 0 && column < 4;
        Floats five[5], three[3];
#pragma GCC unroll 5
        for (int t = 0; t < 5; ++t) five[t] = Lanes::load(weights + t * BLOCK);
        if (inner) {
#pragma GCC unroll 3
            for (int t = 0; t < 3; ++t) three[t] = Lanes::load(weights + (5 + t) * BLOCK);
        }
        weights += (inner ? 8 : 5) * BLOCK;
#pragma GCC unroll 8
        for (int plane = 0; plane < PLANES; ++plane) {
#pragma GCC unroll 2
            for (int i = 0; i < COLUMNS; ++i) {
                const Floats value = Lanes::load(from + plane * plane_apart + (column + i) * BLOCK);
#pragma GCC unroll 5
                for (int t = 0; t < 5; ++t) {
                    const int z = plane - t + FIRST;
                    if (z >= 0 && z < Z) sums.five[z][i] = Lanes::fma(value, five[t], sums.five[z][i]);
                }
                if (inner) {
#pragma GCC unroll 3
                    for (int t = 0; t < 3; ++t) {
                        const int z = plane - t + FIRST - 1;
                        if (z >= 0 && z < Z) sums.three[z][i] = Lanes::fma(value, three[t], sums.three[z][i]);
                    }
                }
            }
        }
    }
    return weights;
}

inline Floats relu6_of(Floats sum, const float *weights, int size) {
    const Floats scaled = Lanes::fma(sum, Lanes::load(weights + (MULTI_SCALE_LAST + 1 + size) * BLOCK),
                                     Lanes::load(weights + (MULTI_SCALE_LAST + 4 + size) * BLOCK));
    return Lanes::clamp(scaled, Lanes::zero(), Lanes::all(6));
}

// Sums [Z][COLUMNS][PARTS] of the columns from `from` on.
template <int Z, bool HALO>
inline void compute(const float *from, int64_t row_apart, int64_t plane_apart, const float *all,
                    Floats (*sums)[COLUMNS][PARTS]) {
    for (int part = 0; part < PARTS; ++part) {
        const float *weights = all + part * Lanes::WIDTH, *row = from + part * Lanes::WIDTH;
        Sums<Z> own;
#pragma GCC unroll 8
        for (int z = 0; z < Z; ++z) {
#pragma GCC unroll 2
            for (int i = 0; i < COLUMNS; ++i) own.five[z][i] = own.three[z][i] = Lanes::zero();
        }
        const float *at = add_row<Z, HALO, false>(row, plane_apart, weights, own);
#pragma GCC unroll 1
        for (int y = 1; y < 4; ++y) at = add_row<Z, HALO, true>(row + y * row_apart, plane_apart, at, own);
        add_row<Z, HALO, false>(row + 4 * row_apart, plane_apart, at, own);
        const float *centre = row + 2 * row_apart + 2 * BLOCK + (HALO ? 2 : 0) * plane_apart;
        const Floats tap = Lanes::load(weights + MULTI_SCALE_LAST * BLOCK);
#pragma GCC unroll 8
        for (int z = 0; z < Z; ++z) {
#pragma GCC unroll 2
            for (int i = 0; i < COLUMNS; ++i) {
                const Floats one = Lanes::multiply(Lanes::load(centre + z * plane_apart + i * BLOCK), tap);
                sums[z][i][part] = Lanes::add(Lanes::add(relu6_of(one, weights, 0), relu6_of(own.three[z][i], weights, 1)),
                                              relu6_of(own.five[z][i], weights, 2));
            }
        }
    }
}

struct InFloats {
    template <int Z, bool HALO> static void sum_up(const MultiScaleTask &task) {
        const int64_t columns = task.map.width + 3 + COLUMNS, rows = task.rows + 4, planes = HALO ? Z + 4 : Z;
        const Box box{task.plane - (HALO ? 2 : 0), planes, task.row - 2, rows, -2, columns};
        float *staged = static_cast<float *>(task.room);
        stage(task.x, task.in.type, task.map, task.n, task.channel, box, staged);
        const int64_t row_apart = columns * BLOCK, plane_apart = rows * row_apart;
        each_column<Z, COLUMNS>(task, staged + planes * plane_apart, [&](int64_t y, int64_t x, auto &sums) {
            compute<Z, HALO>(staged + y * row_apart + x * BLOCK, row_apart, plane_apart, task.weights, sums);
        });
    }
};

}  // namespace
}  // namespace mmcaf
