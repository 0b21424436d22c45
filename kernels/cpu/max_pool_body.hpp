// The pooling kernel, for files that have `Lanes`: memory is all that it waits for, so that it reads each window anew.

#pragma once

#include "max_pool_task.hpp"
#include "values.hpp"

namespace mmcaf {
namespace {

template <class T> inline void pool(const PoolTask &task) {
    const Extent &map = task.map, &answer = task.answer;
    const T *x = static_cast<const T *>(task.x);
    T *y = static_cast<T *>(task.y);
    const Stored stored{task.type, 1};
    int64_t z[2], r[2], c[2];
    task.window(0, task.plane, map.depth, &z[0], &z[1]);
    for (int64_t row = task.row; row < task.row + task.rows; ++row) {
        task.window(1, row, map.height, &r[0], &r[1]);
        for (int64_t column = 0; column < answer.width; ++column) {
            task.window(2, column, map.width, &c[0], &c[1]);
            const int64_t to = place_of(answer, task.n, task.plane, row, column, 0);
            const auto largest = [&](int64_t channel, auto value, auto take) {
                for (int64_t at = z[0]; at < z[1]; ++at) {
                    for (int64_t line = r[0]; line < r[1]; ++line) {
                        const int64_t from = place_of(map, task.n, at, line, 0, channel);
                        for (int64_t k = c[0]; k < c[1]; ++k) value = take(value, from + k * map.channels);
                    }
                }
                return value;
            };
            int64_t channel = 0;
            for (; channel + Lanes::WIDTH <= map.channels; channel += Lanes::WIDTH) {
                Lanes::store(y + to + channel,
                             largest(channel, Lanes::all(-__builtin_inff()), [&](Lanes::Floats value, int64_t from) {
                                 return Lanes::larger(value, Lanes::load(x + from));
                             }));
            }
            for (; channel < map.channels; ++channel) {
                const float found = largest(channel, -__builtin_inff(), [&](float value, int64_t from) {
                    const float other = read_value(x, task.type, from);
                    return value != value || other < value ? value : other;
                });
                write_value(y, stored, to + channel, found);
            }
        }
    }
}

inline void pool_any(const PoolTask &task) {
    if (task.type == Type::f32) return pool<float>(task);
    if (task.type == Type::bf16) return pool<uint16_t>(task);
    pool<int8_t>(task);
}

}  // namespace
}  // namespace mmcaf
