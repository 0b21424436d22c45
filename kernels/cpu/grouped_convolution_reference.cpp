// The grouped convolution as it is defined, one value after the other.

#include "grouped_convolution_task.hpp"
#include "values.hpp"

namespace mmcaf {
namespace {

double value_at(const GroupedTask &task, int64_t z, int64_t y, int64_t x, int64_t channel) {
    const Extent &map = task.map;
    const int64_t group = task.options.group, stride = task.options.stride, first = channel / group * group;
    const float *taps = task.reference.taps + channel * group * 27;
    double sum = 0;
    for (int64_t j = 0; j < group; ++j) {
        for (int64_t k = 0; k < 27; ++k, ++taps) {
            const int64_t at[] = {z * stride + k / 9 - 1, y * stride + k / 3 % 3 - 1, x * stride + k % 3 - 1};
            if (at[0] < 0 || at[0] >= map.depth || at[1] < 0 || at[1] >= map.height || at[2] < 0 || at[2] >= map.width) {
                continue;
            }
            const int64_t place = place_of(map, task.n, at[0], at[1], at[2], first + j);
            sum += static_cast<double>(*taps) * read_value(task.x, task.in.type, place);
        }
    }
    const double step = task.in.type == Type::i8 ? task.in.step : 1.0f;
    const double value = sum * (task.reference.scales[channel] * step) + task.reference.bias[channel];
    return value < task.options.lower ? task.options.lower : value > task.options.upper ? task.options.upper : value;
}

}  // namespace

void grouped_reference(const GroupedTask &task) {
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
