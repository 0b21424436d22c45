#include "../area_resize.hpp"

#include "calls.hpp"

using namespace mmcaf;

// size: height, width, stride and, as 1 or 0, whether the image holds int16_t rather than float and whether columns come
// first; rows, columns: as AxisSums has them; before, after: as Changes. The pixels of all terms lie within the image; the
// caller sees to that.
MMCAF_EXPORT int32_t mmcaf_area_resize_steps(const void *image, const int64_t *size, const AxisSums *rows,
                                             const AxisSums *columns, const Changes *before, const Changes *after,
                                             float *resized) {
    return ran([&] {
        const AreaResize resize{*rows, *columns, size[4] != 0, *before, *after};
        if (size[3]) {
            area_resize(static_cast<const int16_t *>(image), size[0], size[1], size[2], resize, resized);
        } else {
            area_resize(static_cast<const float *>(image), size[0], size[1], size[2], resize, resized);
        }
    });
}
