// What the forms of the multi-scale kernel have in common around their sums, for files that have `Lanes`.

#pragma once

#include "multi_scale_depthwise_task.hpp"
#include "resize_body.hpp"

namespace mmcaf {
namespace {

// All rows and columns of a task: `compute(y, x, sums)` gives the sums [Z][COLUMNS][PARTS] from row y and column x on.
// `kept` is room for the sums in float32, [planes, rows, W, 16], where they are resized.
template <int Z, int COLUMNS, class Compute>
inline void each_column(const MultiScaleTask &task, float *kept, const Compute &compute) {
    const Extent &map = task.map;
    const Writer write(task.y, task.out, map.channels - task.channel);
    for (int64_t y = 0; y < task.rows; ++y) {
        for (int64_t x = 0; x < map.width; x += COLUMNS) {
            Lanes::Floats sums[Z][COLUMNS][PARTS];
            compute(y, x, sums);
            for (int z = 0; z < Z && z < task.planes; ++z) {
                for (int i = 0; i < COLUMNS && x + i < map.width; ++i) {
                    if (task.resizing) {
                        float *to = kept + ((z * task.rows + y) * map.width + x + i) * BLOCK;
                        for (int part = 0; part < PARTS; ++part) Lanes::store(to + part * Lanes::WIDTH, sums[z][i][part]);
                    } else {
                        write(place_of(map, task.n, task.plane + z, task.row + y, x + i, task.channel), sums[z][i]);
                    }
                }
            }
        }
    }
    if (task.resizing) resize_rows(kept, task.rows, map, *task.resizing, task, write);
}

// Form::sum_up of the planes that a task has together.
template <class Form> inline void sum_up(const MultiScaleTask &task) {
    switch (task.map.depth) {
        case 1: return Form::template sum_up<1, false>(task);
        case 2: return Form::template sum_up<2, false>(task);
        case 3: return Form::template sum_up<3, false>(task);
        case 4: return Form::template sum_up<4, false>(task);
        case 5: return Form::template sum_up<5, false>(task);
        case 6: return Form::template sum_up<6, false>(task);
        default: return Form::template sum_up<TILE, true>(task);
    }
}

}  // namespace
}  // namespace mmcaf
