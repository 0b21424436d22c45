// Group norm with squeeze-and-excite gate, residual, leaky ReLU and rounding, of channels-last maps.

#pragma once

#include <cstdint>

#include "maps.hpp"
#include "parallel.hpp"

namespace mmcaf {

// y = leaky(norm(x) * gate + residual): `floating` is y, `rounded` is round(y / step) + zero_point, each of them if asked for.
//
// A channel's gate is sigmoid(widen hidden + widen_bias), hidden = leaky of slope 0.01 of (narrow means + narrow_bias), of
// the means that the normalised channels have. Statistics are exact to about 3e-7 whatever the mean is; a group's bits are
// the same for any number of threads.
struct GroupNormAct {
    int64_t cases, positions, channels, groups;
    Map x;                       // [cases, positions, channels], float32 or bfloat16
    const float *weight, *bias;  // [channels]
    double eps;
    float slope = 1;  // 0 to 1; 1 leaves y as it is
    Map residual;     // as x, of its own type, or none
    int64_t hidden = 0;
    const float *narrow = nullptr, *narrow_bias = nullptr;  // [hidden, channels], [hidden], or none
    const float *widen = nullptr, *widen_bias = nullptr;    // [channels, hidden], [channels]
    Output floating;                                        // float32 or bfloat16, or none
    Output rounded;                                         // int8 or uint8, or none
    float step = 1;
    int zero_point = 0;
};

void groupnorm_act(const GroupNormAct &layer, const Parallel &run);

}  // namespace mmcaf
