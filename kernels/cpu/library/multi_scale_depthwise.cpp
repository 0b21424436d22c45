#include "../multi_scale_depthwise.hpp"

#include "calls.hpp"

using namespace mmcaf;

MMCAF_EXPORT void *mmcaf_multi_scale_depthwise(const int64_t *map, const int32_t *types, const float *steps,
                                               const int64_t *resized, const float *taps, const float *scales,
                                               const float *bias, char *reason) {
    return made<MultiScaleDepthwise>(reason, [&] {
        return new MultiScaleDepthwise(extent_of(map), stored_of(types[0], steps[0]), stored_of(types[1], steps[1]),
                                       {resized[0], resized[1], resized[2]}, {taps, scales, bias});
    });
}

MMCAF_EXPORT int32_t mmcaf_multi_scale_depthwise_run(const void *kernel, const void *x, void *y, int64_t threads) {
    return ran([&] { static_cast<const MultiScaleDepthwise *>(kernel)->run(x, y, Threads(threads)); });
}

MMCAF_EXPORT void mmcaf_multi_scale_depthwise_free(void *kernel) { delete static_cast<MultiScaleDepthwise *>(kernel); }
