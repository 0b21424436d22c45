#include "pooling.hpp"

#include <algorithm>

namespace mmcaf {

namespace {

// values [before, source, behind] to [before, target, behind].
template <class Value>
std::vector<double> pooled(const Value *values, size_t before, size_t source, size_t behind, size_t target) {
    std::vector<double> means(before * target * behind, 0.0);
    for (size_t outer = 0; outer < before; ++outer) {
        for (size_t output = 0; output < target; ++output) {
            const size_t first = output * source / target, end = ((output + 1) * source + target - 1) / target;
            double *into = &means[(outer * target + output) * behind];
            for (size_t input = first; input < end; ++input) {
                const Value *from = values + (outer * source + input) * behind;
                for (size_t at = 0; at < behind; ++at) into[at] += from[at];
            }
            for (size_t at = 0; at < behind; ++at) into[at] /= static_cast<double>(end - first);
        }
    }
    return means;
}

}  // namespace

std::vector<float> pool_area(const float *values, const Shape &shape, const Shape &target) {
    Shape now = shape;
    std::vector<double> means;
    for (size_t axis = 0; axis < 3; ++axis) {
        if (now[axis] == target[axis]) continue;
        size_t before = 1, behind = 1;
        for (size_t other = 0; other < axis; ++other) before *= now[other];
        for (size_t other = axis + 1; other < 3; ++other) behind *= now[other];
        means = means.empty() ? pooled(values, before, now[axis], behind, target[axis])
                              : pooled(means.data(), before, now[axis], behind, target[axis]);
        now[axis] = target[axis];
    }
    if (means.empty()) return {values, values + shape[0] * shape[1] * shape[2]};
    return {means.begin(), means.end()};
}

}  // namespace mmcaf
