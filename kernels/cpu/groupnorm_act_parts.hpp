// The two passes of groupnorm_act over its maps, which each set of instructions has of its own, and what they share.

#pragma once

#include "groupnorm_act.hpp"

namespace mmcaf {

// Of positions [begin, end) of a case, x being its first value: each channel's mean and sum of squared differences from it.
using Statistics = void (*)(const void *x, int64_t begin, int64_t end, int64_t channels, double *means, double *squares);

// Writes positions [begin, end) of case `at`: leaky(x * scale + shift + residual).
using Application = void (*)(const GroupNormAct &layer, int64_t at, int64_t begin, int64_t end, const float *scale,
                             const float *shift);

struct GroupNormParts {
    Statistics f32, bf16;
    Application apply;
};

GroupNormParts groupnorm_act_reference();
GroupNormParts groupnorm_act_avx2();
GroupNormParts groupnorm_act_avx512();
GroupNormParts groupnorm_act_bf16();

}  // namespace mmcaf
