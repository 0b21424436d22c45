// One read of x for its statistics, which a few numbers of each channel are made from, then one pass from x to y.

#include "groupnorm_act.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "features.hpp"
#include "groupnorm_act_parts.hpp"

namespace mmcaf {
namespace {

constexpr int64_t MOST_TASKS = 32;          // of one case; more would only be more statistics to join
constexpr int64_t WORTH_A_TASK = 16 << 10;  // values; fewer take less time than handing them out
constexpr double GATE_SLOPE = 0.01;

GroupNormParts parts() {
#if defined(MMCAF_WITH_BF16)
    if (features().bf16) return groupnorm_act_bf16();
#endif
#if defined(MMCAF_WITH_AVX512)
    if (features().avx512) return groupnorm_act_avx512();
#endif
#if defined(MMCAF_WITH_AVX2)
    if (features().avx2) return groupnorm_act_avx2();
#endif
    return groupnorm_act_reference();
}

// How the positions of a case are cut into tasks.
struct Cut {
    int64_t positions, each;
    int tasks;
    Cut(int64_t positions, int64_t channels) : positions(positions) {
        const int64_t worth = std::max<int64_t>(1, WORTH_A_TASK / std::max<int64_t>(1, channels));
        each = std::max((positions + MOST_TASKS - 1) / MOST_TASKS, std::min(worth, positions));
        each = std::max<int64_t>(each, 1);
        tasks = static_cast<int>((positions + each - 1) / each);
    }
    int64_t begin(int task) const { return task * each; }
    int64_t end(int task) const { return std::min(positions, (task + 1) * each); }
};

// means and squares [tasks, channels], of runs of positions -> of all, in the first row. The runs are of equal size but the last.
void join(const Cut &cut, int64_t channels, double *means, double *squares) {
    double before = static_cast<double>(cut.end(0));
    for (int task = 1; task < cut.tasks; ++task) {
        const double own = static_cast<double>(cut.end(task) - cut.begin(task)), all = before + own;
        const double *mean = means + task * channels, *square = squares + task * channels;
        const double share = own / all, weight = before * share;
        for (int64_t c = 0; c < channels; ++c) {
            const double step = mean[c] - means[c];
            means[c] += step * share;
            squares[c] += square[c] + step * step * weight;
        }
        before = all;
    }
}

// What is a sum over `size`, in eight parts at a time, so that it need not wait for itself.
double product(const float *weights, const double *values, int64_t size) {
    double sums[8] = {};
    int64_t at = 0;
    for (; at + 8 <= size; at += 8) {
        for (int lane = 0; lane < 8; ++lane) sums[lane] += weights[at + lane] * values[at + lane];
    }
    for (; at < size; ++at) sums[0] += weights[at] * values[at];
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

// Multiplies scale and shift by the gates. `means` of the channels of x are overwritten.
void apply_gate(const GroupNormAct &layer, double *means, float *scale, float *shift) {
    for (int64_t c = 0; c < layer.channels; ++c) means[c] = means[c] * scale[c] + shift[c];
    std::vector<double> hidden(layer.hidden);
    for (int64_t unit = 0; unit < layer.hidden; ++unit) {
        const double sum = product(layer.narrow + unit * layer.channels, means, layer.channels) + layer.narrow_bias[unit];
        hidden[unit] = sum > 0 || std::isnan(sum) ? sum : GATE_SLOPE * sum;
    }
    for (int64_t c = 0; c < layer.channels; ++c) {
        const double sum = product(layer.widen + c * layer.hidden, hidden.data(), layer.hidden) + layer.widen_bias[c];
        const float gate = static_cast<float>(1 / (1 + std::exp(-sum)));
        scale[c] *= gate;
        shift[c] *= gate;
    }
}

// What x is multiplied by and what is added to it, of each channel's mean and sum of squared differences.
void prepare(const GroupNormAct &layer, double *means, const double *squares, float *scale, float *shift) {
    const int64_t size = layer.channels / layer.groups;
    for (int64_t first = 0; first < layer.channels; first += size) {
        double mean = 0, square = 0;
        for (int64_t c = first; c < first + size; ++c) mean += means[c];
        mean /= static_cast<double>(size);
        for (int64_t c = first; c < first + size; ++c) {
            const double offset = means[c] - mean;
            square += squares[c] / static_cast<double>(layer.positions) + offset * offset;
        }
        const double inverse = 1 / std::sqrt(square / static_cast<double>(size) + layer.eps);
        for (int64_t c = first; c < first + size; ++c) {
            scale[c] = static_cast<float>(layer.weight[c] * inverse);
            shift[c] = static_cast<float>(layer.bias[c] - mean * layer.weight[c] * inverse);
        }
    }
    if (layer.narrow) apply_gate(layer, means, scale, shift);
}

}  // namespace

void groupnorm_act(const GroupNormAct &layer, const Parallel &run) {
    const GroupNormParts own = parts();
    const int64_t channels = layer.channels;
    const Cut cut(layer.positions, channels);
    if (layer.cases * cut.tasks * channels == 0) return;
    const bool wide = layer.x.type == Type::f32;
    const Statistics statistics = wide ? own.f32 : own.bf16;
    const int64_t bytes = layer.positions * channels * (wide ? 4 : 2);
    std::vector<double> means(cut.tasks * channels), squares(cut.tasks * channels);
    std::vector<float> scale(channels), shift(channels);
    for (int64_t at = 0; at < layer.cases; ++at) {
        const char *x = static_cast<const char *>(layer.x.data) + at * bytes;
        run(cut.tasks, [&](int task) {
            statistics(x, cut.begin(task), cut.end(task), channels, means.data() + task * channels,
                       squares.data() + task * channels);
        });
        join(cut, channels, means.data(), squares.data());
        prepare(layer, means.data(), squares.data(), scale.data(), shift.data());
        run(cut.tasks, [&](int task) {
            own.apply(layer, at, cut.begin(task), cut.end(task), scale.data(), shift.data());
        });
    }
}

}  // namespace mmcaf
