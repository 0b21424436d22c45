#include "../grouped_convolution.hpp"

#include "calls.hpp"

using namespace mmcaf;

// options: group and stride; limits: lower and upper.
MMCAF_EXPORT void *mmcaf_grouped_convolution(const int64_t *map, const int32_t *types, const float *steps,
                                             const int64_t *options, const float *limits, const float *taps,
                                             const float *scales, const float *bias, char *reason) {
    return made<GroupedConvolution>(reason, [&] {
        return new GroupedConvolution(extent_of(map), stored_of(types[0], steps[0]), stored_of(types[1], steps[1]),
                                      {options[0], options[1], limits[0], limits[1]}, {taps, scales, bias});
    });
}

MMCAF_EXPORT int32_t mmcaf_grouped_convolution_run(const void *kernel, const void *x, void *y, int64_t threads) {
    return ran([&] { static_cast<const GroupedConvolution *>(kernel)->run(x, y, Threads(threads)); });
}

MMCAF_EXPORT void mmcaf_grouped_convolution_free(void *kernel) { delete static_cast<GroupedConvolution *>(kernel); }
