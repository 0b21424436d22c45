#include "../groupnorm_act.hpp"

#include "calls.hpp"

// sizes: cases, positions, channels, groups, hidden; types: of x, residual, floating and rounded; arrays: x, weight, bias,
// residual, narrow, narrow_bias, widen, widen_bias, floating, rounded, of which those left out are null.
MMCAF_EXPORT int32_t mmcaf_groupnorm_act(const int64_t *sizes, const int32_t *types, void *const *arrays, double eps,
                                         float slope, float step, int32_t zero_point, int64_t threads) {
    using mmcaf::Type;
    const auto floats = [&](int at) { return static_cast<const float *>(arrays[at]); };
    mmcaf::GroupNormAct layer{};
    layer.cases = sizes[0];
    layer.positions = sizes[1];
    layer.channels = sizes[2];
    layer.groups = sizes[3];
    layer.hidden = sizes[4];
    layer.x = {arrays[0], static_cast<Type>(types[0])};
    layer.weight = floats(1);
    layer.bias = floats(2);
    layer.residual = {arrays[3], static_cast<Type>(types[1])};
    layer.narrow = floats(4);
    layer.narrow_bias = floats(5);
    layer.widen = floats(6);
    layer.widen_bias = floats(7);
    layer.floating = {arrays[8], static_cast<Type>(types[2])};
    layer.rounded = {arrays[9], static_cast<Type>(types[3])};
    layer.eps = eps;
    layer.slope = slope;
    layer.step = step;
    layer.zero_point = zero_point;
    return mmcaf::ran([&] { mmcaf::groupnorm_act(layer, mmcaf::Threads(threads)); });
}
