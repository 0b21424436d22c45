// The pooling kernel as it is defined, one value after the other.

#include "max_pool_task.hpp"
#include "values.hpp"

namespace mmcaf {
namespace {

float largest(const PoolTask &task, const int64_t (*window)[2], int64_t channel) {
    float found = -INFINITY;
    for (int64_t z = window[0][0]; z < window[0][1]; ++z) {
        for (int64_t y = window[1][0]; y < window[1][1]; ++y) {
            for (int64_t x = window[2][0]; x < window[2][1]; ++x) {
                const float value = read_value(task.x, task.type, place_of(task.map, task.n, z, y, x, channel));
                if (std::isnan(value)) return value;
                if (value > found) found = value;
            }
        }
    }
    return found;
}

}  // namespace

void pool_reference(const PoolTask &task) {
    int64_t window[3][2];
    task.window(0, task.plane, task.map.depth, &window[0][0], &window[0][1]);
    for (int64_t y = task.row; y < task.row + task.rows; ++y) {
        task.window(1, y, task.map.height, &window[1][0], &window[1][1]);
        for (int64_t x = 0; x < task.answer.width; ++x) {
            task.window(2, x, task.map.width, &window[2][0], &window[2][1]);
            for (int64_t c = 0; c < task.map.channels; ++c) {
                const int64_t to = place_of(task.answer, task.n, task.plane, y, x, c);
                write_value(task.y, {task.type, 1}, to, largest(task, window, c));
            }
        }
    }
}

}  // namespace mmcaf
