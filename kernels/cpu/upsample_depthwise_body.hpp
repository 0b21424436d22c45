// The upsampling kernel in float32, for files that have `Lanes`.

#pragma once

#include "resize_body.hpp"
#include "staging.hpp"
#include "upsample_depthwise_task.hpp"

namespace mmcaf {
namespace {

// A plane of the smaller map [sources, W, 16], its rows from rows.source on, doubled along rows and columns.
inline void double_plane(const float *from, const Samples &rows, const Axis &height, const Axis &width, int64_t columns,
                         float *to) {
    for (int64_t y = rows.first; y < rows.end; ++y) {
        const float *low = from + (height.low[y] - rows.source) * columns * BLOCK;
        const float *high = from + (height.high[y] - rows.source) * columns * BLOCK;
        for (int64_t x = 0; x < width.count; ++x, to += BLOCK) {
            const int64_t left = width.low[x] * BLOCK, right = width.high[x] * BLOCK;
            for (int part = 0; part < BLOCK; part += Lanes::WIDTH) {
                const auto along = [&](const float *row) {
                    return between(Lanes::load(row + left + part), Lanes::load(row + right + part), width.weight[x]);
                };
                Lanes::store(to + part, between(along(low), along(high), height.weight[y]));
            }
        }
    }
}

// Rows between two planes of `rows` rows of `columns` columns, each row with zeros around it.
inline void between_planes(const float *low, const float *high, float weight, int64_t rows, int64_t columns, float *to) {
    const int64_t apart = doubled_columns(columns) * BLOCK, inside = columns * BLOCK;
    for (int64_t y = 0; y < rows; ++y, low += inside, high += inside, to += apart) {
        std::memset(to, 0, sizeof(float) * BLOCK);
        for (int64_t at = 0; at < inside; at += Lanes::WIDTH) {
            Lanes::store(to + BLOCK + at, between(Lanes::load(low + at), Lanes::load(high + at), weight));
        }
        std::memset(to + BLOCK + inside, 0, (apart - BLOCK - inside) * sizeof(float));
    }
}

// UPSAMPLE_COLUMNS of y, [COLUMNS][PARTS], from the doubled map's first of them on.
inline void convolve(const float *from, int64_t row_apart, int64_t plane_apart, const float *weights,
                     Lanes::Floats (*values)[PARTS]) {
    constexpr int COLUMNS = UPSAMPLE_COLUMNS;
    for (int part = 0; part < PARTS; ++part) {
        const float *taps = weights + part * Lanes::WIDTH;
        Lanes::Floats own[COLUMNS];
#pragma GCC unroll 8
        for (int i = 0; i < COLUMNS; ++i) own[i] = Lanes::load(taps + 27 * BLOCK);
#pragma GCC unroll 1
        for (int kz = 0; kz < 3; ++kz) {
#pragma GCC unroll 3
            for (int ky = 0; ky < 3; ++ky, taps += 3 * BLOCK) {
                const float *row = from + kz * plane_apart + ky * row_apart + part * Lanes::WIDTH;
                Lanes::Floats tap[3];
#pragma GCC unroll 3
                for (int kx = 0; kx < 3; ++kx) tap[kx] = Lanes::load(taps + kx * BLOCK);
#pragma GCC unroll 10
                for (int at = 0; at < COLUMNS + 2; ++at) {
                    const Lanes::Floats value = Lanes::load(row + at * BLOCK);
#pragma GCC unroll 3
                    for (int kx = 0; kx < 3; ++kx) {
                        if (at >= kx && at - kx < COLUMNS) own[at - kx] = Lanes::fma(value, tap[kx], own[at - kx]);
                    }
                }
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < COLUMNS; ++i) {
            values[i][part] = Lanes::clamp(own[i], Lanes::zero(), Lanes::all(__builtin_inff()));
        }
    }
}

// The planes and rows that a task reads of the doubled map, [planes + 2, rows + 2, columns, 16].
inline void double_up(const UpsampleTask &task, float *room, float *to) {
    const Axis &depth = task.resizing.depth, &height = task.resizing.height, &width = task.resizing.width;
    const Samples planes = samples_of(depth, task.plane, task.planes), rows = samples_of(height, task.row, task.rows);
    const Box box{planes.source, planes.sources, rows.source, rows.sources, 0, task.map.width};
    stage(task.x, task.in.type, task.map, task.n, task.channel, box, room);
    float *wide = room + box.planes * box.rows * box.columns * BLOCK;
    const int64_t inside = rows.end - rows.first, plane_apart = inside * width.count * BLOCK;
    for (int64_t z = 0; z < box.planes; ++z) {
        double_plane(room + z * box.rows * box.columns * BLOCK, rows, height, width, box.columns, wide + z * plane_apart);
    }
    const int64_t row_values = doubled_columns(width.count) * BLOCK, row_bytes = row_values * sizeof(float);
    for (int64_t z = task.plane - 1; z <= task.plane + task.planes; ++z, to += (task.rows + 2) * row_values) {
        if (z < 0 || z >= depth.count) {
            std::memset(to, 0, (task.rows + 2) * row_bytes);
            continue;
        }
        const int64_t above = rows.first - (task.row - 1), below = task.rows + 2 - above - inside;
        std::memset(to, 0, above * row_bytes);
        const float *low = wide + (depth.low[z] - planes.source) * plane_apart;
        const float *high = wide + (depth.high[z] - planes.source) * plane_apart;
        between_planes(low, high, depth.weight[z], inside, width.count, to + above * row_values);
        std::memset(to + (above + inside) * row_values, 0, below * row_bytes);
    }
}

inline void upsample(const UpsampleTask &task) {
    const Extent &answer = task.answer;
    const int64_t row_apart = doubled_columns(answer.width) * BLOCK, plane_apart = (task.rows + 2) * row_apart;
    float *doubled = static_cast<float *>(task.room), *room = doubled + (task.planes + 2) * plane_apart;
    double_up(task, room, doubled);
    const Writer write(task.y, task.out, answer.channels - task.channel);
    for (int64_t z = 0; z < task.planes; ++z) {
        for (int64_t y = 0; y < task.rows; ++y) {
            for (int64_t x = 0; x < answer.width; x += UPSAMPLE_COLUMNS) {
                Lanes::Floats values[UPSAMPLE_COLUMNS][PARTS];
                const float *from = doubled + z * plane_apart + y * row_apart + x * BLOCK;
                convolve(from, row_apart, plane_apart, task.weights, values);
                for (int64_t i = 0; i < UPSAMPLE_COLUMNS && x + i < answer.width; ++i) {
                    write(place_of(answer, task.n, task.plane + z, task.row + y, x + i, task.channel), values[i]);
                }
            }
        }
    }
}

}  // namespace
}  // namespace mmcaf
