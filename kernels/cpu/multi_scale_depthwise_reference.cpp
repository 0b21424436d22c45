// The multi-scale kernel as it is defined, one value after the other.

#include "multi_scale_depthwise_task.hpp"
#include "values.hpp"

namespace mmcaf {
namespace {

// Depthwise convolution of an odd size at one position, in the steps of the map.
double convolved(const MultiScaleTask &task, const float *taps, int64_t size, int64_t z, int64_t y, int64_t x,
                 int64_t channel) {
    const Extent &map = task.map;
    const int64_t reach = size / 2;
    double sum = 0;
    for (int64_t dz = -reach; dz <= reach; ++dz) {
        for (int64_t dy = -reach; dy <= reach; ++dy) {
            for (int64_t dx = -reach; dx <= reach; ++dx, ++taps) {
                const int64_t at[] = {z + dz, y + dy, x + dx};
                if (at[0] < 0 || at[0] >= map.depth || at[1] < 0 || at[1] >= map.height || at[2] < 0 ||
                    at[2] >= map.width) {
                    continue;
                }
                sum += static_cast<double>(*taps) *
                       read_value(task.x, task.in.type, place_of(map, task.n, at[0], at[1], at[2], channel));
            }
        }
    }
    return sum;
}

double sum_at(const MultiScaleTask &task, int64_t z, int64_t y, int64_t x, int64_t channel) {
    const float step = task.in.type == Type::i8 ? task.in.step : 1.0f;
    const float *taps = task.reference.taps + channel * MULTI_SCALE_TAPS;
    double total = 0;
    for (int64_t number = 0, size = 1; number < 3; ++number, size += 2) {
        const int64_t at = number * task.map.channels + channel;
        const double scale = task.reference.scales[at] * step;
        const double value = convolved(task, taps, size, z, y, x, channel) * scale + task.reference.bias[at];
        total += value < 0 ? 0 : value > 6 ? 6 : value;
        taps += size * size * size;
    }
    return total;
}

double resized_at(const MultiScaleTask &task, int64_t z, int64_t y, int64_t x, int64_t channel) {
    const Axis axes[] = {task.resizing->depth, task.resizing->height, task.resizing->width};
    const int64_t at[] = {z, y, x};
    double total = 0;
    for (int corner = 0; corner < 8; ++corner) {
        double share = 1;
        int64_t from[3];
        for (int axis = 0; axis < 3; ++axis) {
            const bool high = corner >> axis & 1;
            const float weight = axes[axis].weight[at[axis]];
            share *= high ? weight : 1 - weight;
            from[axis] = high ? axes[axis].high[at[axis]] : axes[axis].low[at[axis]];
        }
        total += share * sum_at(task, from[0], from[1], from[2], channel);
    }
    return total;
}

}  // namespace

void multi_scale_reference(const MultiScaleTask &task) {
    const Resizing *to = task.resizing;
    const Extent map = task.map;
    const Extent answer = to ? Extent{map.cases, to->depth.count, to->height.count, to->width.count, map.channels} : map;
    const int64_t first = to ? 0 : task.plane, planes = to ? answer.depth : task.planes;
    for (int64_t z = first; z < first + planes; ++z) {
        for (int64_t y = task.out_row; y < task.out_row + task.out_rows; ++y) {
            for (int64_t x = 0; x < answer.width; ++x) {
                for (int64_t c = task.channel; c < task.channel + BLOCK && c < map.channels; ++c) {
                    const double value = to ? resized_at(task, z, y, x, c) : sum_at(task, z, y, x, c);
                    write_value(task.y, task.out, place_of(answer, task.n, z, y, x, c), static_cast<float>(value));
                }
            }
        }
    }
}

}  // namespace mmcaf
