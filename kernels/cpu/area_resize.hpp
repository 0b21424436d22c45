// Slices resized in-plane by sums of weighted pixels, each in a fixed order, with what is done to every value before and
// after it.

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

// image [H, W], of which a row begins `stride` values after the one before, to resized [rows.outputs, columns.outputs]:
// along the rows, then along the columns. Each product and each sum is rounded to single precision, so that the bits are
// those of any other who does the same.
template <class Value>
void area_resize(const Value *image, int64_t width, int64_t stride, const AxisSums &rows, const AxisSums &columns,
                 float *resized);

// What is done to a value, in single precision. limit: to 0 to 1; round: to the nearest whole number, to even between two.
enum class Change : int32_t { subtract, multiply, divide, limit, round, floor };

struct Changes {
    int64_t count;
    const int32_t *kinds;    // of `Change`
    const float *operands;  // of the first three kinds
};

struct AreaResize {
    AxisSums rows, columns;
    bool columns_first;  // rather than the rows, which rounds otherwise
    Changes before, after;
};

// The same of image [height, width], with changes of every value of the image and of the result.
template <class Value>
void area_resize(const Value *image, int64_t height, int64_t width, int64_t stride, const AreaResize &resize,
                 float *resized);

}  // namespace mmcaf
