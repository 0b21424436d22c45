// The upsampling kernel as it is defined, one value after the other.

#include "upsample_depthwise_task.hpp"
#include "values.hpp"

namespace mmcaf {
namespace {

// The doubled map at one of its positions.
double doubled_at(const UpsampleTask &task, const int64_t *at, int64_t channel) {
    const Axis axes[] = {task.resizing.depth, task.resizing.height, task.resizing.width};
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
        const int64_t place = place_of(task.map, task.n, from[0], from[1], from[2], channel);
        total += share * read_value(task.x, task.in.type, place);
    }
    return total * (task.in.type == Type::i8 ? task.in.step : 1.0f);
}

double value_at(const UpsampleTask &task, int64_t z, int64_t y, int64_t x, int64_t channel) {
    const Extent &answer = task.answer;
    const float *taps = task.reference.taps + channel * 27;
    double sum = task.reference.bias[channel];
    for (int64_t k = 0; k < 27; ++k) {
        const int64_t at[] = {z + k / 9 - 1, y + k / 3 % 3 - 1, x + k % 3 - 1};
        if (at[0] < 0 || at[0] >= answer.depth || at[1] < 0 || at[1] >= answer.height || at[2] < 0 ||
            at[2] >= answer.width) {
            continue;
        }
        sum += static_cast<double>(taps[k]) * doubled_at(task, at, channel);
    }
    return sum < 0 ? 0 : sum;
}

}  // namespace

void upsample_reference(const UpsampleTask &task) {
    for (int64_t z = task.plane; z < task.plane + task.planes; ++z) {
        for (int64_t y = task.row; y < task.row + task.rows; ++y) {
            for (int64_t x = 0; x < task.answer.width; ++x) {
                for (int64_t c = task.channel; c < task.channel + BLOCK && c < task.map.channels; ++c) {
                    const float value = static_cast<float>(value_at(task, z, y, x, c));
                    write_value(task.y, task.out, place_of(task.answer, task.n, z, y, x, c), value);
                }
            }
        }
    }
}

}  // namespace mmcaf
