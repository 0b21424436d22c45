// Slices resized in-plane by sums of weighted pixels: along the rows, then along the columns, each in a fixed order.

#pragma once

#include <cstdint>

namespace mmcaf {

// Of an axis: output pixel i is the sum of pixels[k] * weights[k] for k from starts[i] to starts[i + 1], in this order, and
// has at least one term.
struct AxisSums {
    int64_t outputs;
    const int64_t *starts;
    const int64_t *pixels;
    const float *weights;
};

// image [H, W], of which a row begins `stride` values after the one before, to resized [rows.outputs, columns.outputs].
// Each product and each sum is rounded to single precision, so that the bits are those of any other who does the same.
template <class Value>
void area_resize(const Value *image, int64_t width, int64_t stride, const AxisSums &rows, const AxisSums &columns,
                 float *resized);

}  // namespace mmcaf
