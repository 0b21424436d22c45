#include "../upsample_depthwise.hpp"

#include "calls.hpp"

using namespace mmcaf;

MMCAF_EXPORT void *mmcaf_upsample_depthwise(const int64_t *map, const int32_t *types, const float *steps,
                                            const float *taps, const float *bias, char *reason) {
    return made<UpsampleDepthwise>(reason, [&] {
        return new UpsampleDepthwise(extent_of(map), stored_of(types[0], steps[0]), stored_of(types[1], steps[1]),
                                     {taps, bias});
    });
}

MMCAF_EXPORT int32_t mmcaf_upsample_depthwise_run(const void *kernel, const void *x, void *y, int64_t threads) {
    return ran([&] { static_cast<const UpsampleDepthwise *>(kernel)->run(x, y, Threads(threads)); });
}

MMCAF_EXPORT void mmcaf_upsample_depthwise_free(void *kernel) { delete static_cast<UpsampleDepthwise *>(kernel); }
