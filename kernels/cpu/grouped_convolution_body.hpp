// The grouped convolution in float32, for files that have `Lanes`: i8 maps are computed in it too, exactly, since their
// sums stay below 2^24.

#pragma once

#include "grouped_convolution_columns.hpp"

namespace mmcaf {
namespace {

// Sums [COLUMNS][PARTS] of the staged columns from `from` on.
template <int GROUP, int STRIDE>
inline void compute(const float *from, int64_t row_apart, int64_t plane_apart, const float *taps,
                    Lanes::Floats (*sums)[PARTS]) {
    for (int part = 0; part < PARTS; ++part) {
        Lanes::Floats own[COLUMNS];
#pragma GCC unroll 12
        for (int i = 0; i < COLUMNS; ++i) own[i] = Lanes::zero();
        const float *weights = taps + part * Lanes::WIDTH;
#pragma GCC unroll 1
        for (int kz = 0; kz < 3; ++kz) {
#pragma GCC unroll 1
            for (int ky = 0; ky < 3; ++ky, weights += 3 * GROUP * BLOCK) {
                const float *row = from + kz * plane_apart + ky * row_apart;
#pragma GCC unroll 4
                for (int j = 0; j < GROUP; ++j) {
                    Lanes::Floats tap[3];
#pragma GCC unroll 3
                    for (int kx = 0; kx < 3; ++kx) tap[kx] = Lanes::load(weights + (kx * GROUP + j) * BLOCK);
#pragma GCC unroll 25
                    for (int at = 0; at < (COLUMNS - 1) * STRIDE + 3; ++at) {
                        const Lanes::Floats value = Lanes::of_group<GROUP>(row + at * BLOCK, part, j);
#pragma GCC unroll 3
                        for (int kx = 0; kx < 3; ++kx) {
                            const int i = (at - kx) / STRIDE;
                            if (at < kx || (at - kx) % STRIDE || i >= COLUMNS) continue;
                            own[i] = Lanes::fma(value, tap[kx], own[i]);
                        }
                    }
                }
            }
        }
#pragma GCC unroll 12
        for (int i = 0; i < COLUMNS; ++i) sums[i][part] = own[i];
    }
}

struct InFloats {
    template <int GROUP, int STRIDE> static void convolve(const GroupedTask &task) {
        const Box box{task.plane * STRIDE - 1,
                      read_by(task.planes, STRIDE),
                      task.row * STRIDE - 1,
                      read_by(task.rows, STRIDE),
                      -1,
                      staged_columns(task.answer, STRIDE)};
        float *staged = static_cast<float *>(task.room);
        stage(task.x, task.in.type, task.map, task.n, task.channel, box, staged);
        const int64_t row_apart = box.columns * BLOCK, plane_apart = box.rows * row_apart;
        each_column(task, [&](int64_t z, int64_t y, int64_t x, auto &sums) {
            const float *from = staged + z * STRIDE * plane_apart + y * STRIDE * row_apart + x * STRIDE * BLOCK;
            compute<GROUP, STRIDE>(from, row_apart, plane_apart, task.taps, sums);
        });
    }
};

}  // namespace
}  // namespace mmcaf
