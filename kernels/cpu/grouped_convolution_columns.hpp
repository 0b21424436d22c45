// What the forms of the grouped convolution have in common around their sums, for files that have `Lanes`.

#pragma once

#include "grouped_convolution_task.hpp"
#include "staging.hpp"

namespace mmcaf {
namespace {

static constexpr int COLUMNS = Lanes::REGISTERS == 32 ? GROUPED_COLUMNS : GROUPED_COLUMNS / 2;

// All columns of a task: `compute(z, y, x, sums)` gives the sums [COLUMNS][PARTS] of the task's plane z, row y.
template <class Compute> inline void each_column(const GroupedTask &task, const Compute &compute) {
    const Writer write(task.y, task.out, task.map.channels - task.channel);
    const Lanes::Floats lower = Lanes::all(task.options.lower), upper = Lanes::all(task.options.upper);
    Lanes::Floats scale[PARTS], bias[PARTS];
    for (int part = 0; part < PARTS; ++part) {
        scale[part] = Lanes::load(task.ends + part * Lanes::WIDTH);
        bias[part] = Lanes::load(task.ends + BLOCK + part * Lanes::WIDTH);
    }
    for (int64_t z = 0; z < task.planes; ++z) {
        for (int64_t y = 0; y < task.rows; ++y) {
            for (int64_t x = 0; x < task.answer.width; x += COLUMNS) {
                Lanes::Floats sums[COLUMNS][PARTS];
                compute(z, y, x, sums);
                for (int64_t i = 0; i < COLUMNS && x + i < task.answer.width; ++i) {
                    for (int part = 0; part < PARTS; ++part) {
                        const Lanes::Floats scaled = Lanes::fma(sums[i][part], scale[part], bias[part]);
                        sums[i][part] = Lanes::clamp(scaled, lower, upper);
                    }
                    write(place_of(task.answer, task.n, task.plane + z, task.row + y, x + i, task.channel), sums[i]);
                }
            }
        }
    }
}

// Form::convolve of a task's group and stride.
template <class Form> inline void convolve(const GroupedTask &task) {
    const bool twice = task.options.stride == 2;
    switch (task.options.group) {
        case 4: return twice ? Form::template convolve<4, 2>(task) : Form::template convolve<4, 1>(task);
        case 8: return twice ? Form::template convolve<8, 2>(task) : Form::template convolve<8, 1>(task);
        default: return twice ? Form::template convolve<16, 2>(task) : Form::template convolve<16, 1>(task);
    }
}

}  // namespace
}  // namespace mmcaf
