#include "../area_resize.hpp"

#include "export.hpp"

using namespace mmcaf;

// whole: whether the image holds int16_t, else float. The pixels of all terms lie within it; the caller sees to that.
MMCAF_EXPORT void mmcaf_area_resize(const void *image, int64_t whole, int64_t width, int64_t stride, int64_t rows,
                                    const int64_t *row_starts, const int64_t *row_pixels, const float *row_weights,
                                    int64_t columns, const int64_t *column_starts, const int64_t *column_pixels,
                                    const float *column_weights, float *resized) {
    const AxisSums of_rows{rows, row_starts, row_pixels, row_weights};
    const AxisSums of_columns{columns, column_starts, column_pixels, column_weights};
    if (whole) {
        area_resize(static_cast<const int16_t *>(image), width, stride, of_rows, of_columns, resized);
    } else {
        area_resize(static_cast<const float *>(image), width, stride, of_rows, of_columns, resized);
    }
}
