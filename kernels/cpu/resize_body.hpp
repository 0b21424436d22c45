// Linear interpolation of a block of channels, for files that have `Lanes`.

#pragma once

#include "resize.hpp"
#include "staging.hpp"

namespace mmcaf {
namespace {

inline Lanes::Floats between(Lanes::Floats low, Lanes::Floats high, float weight) {
    return Lanes::fma(high, Lanes::all(weight), Lanes::multiply(low, Lanes::all(1 - weight)));
}

// Rows of the answer of what is kept in float32 [D, rows, W, 16], its rows from task.row on.
template <class Task>
inline void resize_rows(const float *kept, int64_t rows, const Extent &map, const Resizing &to, const Task &task,
                        const Writer &write) {
    const Axis &depth = to.depth, &height = to.height, &width = to.width;
    const Extent answer{map.cases, depth.count, height.count, width.count, map.channels};
    for (int64_t z = 0; z < depth.count; ++z) {
        const int64_t planes[] = {depth.low[z], depth.high[z]};
        for (int64_t y = task.out_row; y < task.out_row + task.out_rows; ++y) {
            const int64_t lines[] = {height.low[y] - task.row, height.high[y] - task.row};
            for (int64_t x = 0; x < width.count; ++x) {
                Lanes::Floats value[PARTS];
                for (int part = 0; part < PARTS; ++part) {
                    const auto along = [&](int plane, int line) {
                        const float *from = kept + (planes[plane] * rows + lines[line]) * map.width * BLOCK;
                        return between(Lanes::load(from + width.low[x] * BLOCK + part * Lanes::WIDTH),
                                       Lanes::load(from + width.high[x] * BLOCK + part * Lanes::WIDTH), width.weight[x]);
                    };
                    const Lanes::Floats near = between(along(0, 0), along(0, 1), height.weight[y]);
                    const Lanes::Floats far = between(along(1, 0), along(1, 1), height.weight[y]);
                    value[part] = between(near, far, depth.weight[z]);
                }
                write(place_of(answer, task.n, z, y, x, task.channel), value);
            }
        }
    }
}

}  // namespace
}  // namespace mmcaf
