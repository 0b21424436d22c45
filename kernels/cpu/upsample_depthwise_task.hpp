// What the forms of the upsampling kernel share: one task, and how its weights lie.

#pragma once

#include "resize.hpp"
#include "upsample_depthwise.hpp"

namespace mmcaf {

static constexpr int64_t UPSAMPLE_COLUMNS = 8;  // of y that are computed together

// Some rows and planes of one block of channels.
struct UpsampleTask {
    const void *x;
    void *y;
    Extent map, answer;
    Stored in, out;
    Resizing resizing;
    int64_t n, channel;
    int64_t plane, planes, row, rows;  // of y
    const float *weights;              // the block's, taps and bias, [28, 16]
    UpsampleWeights reference;         // of all channels, for the reference alone
    void *room;
};

// Samples of an axis from `first` to before `end`: those of them that a 3x3x3 convolution reads besides, and the samples
// of the smaller map that they come from.
struct Samples {
    int64_t first, end, source, sources;
};
static inline Samples samples_of(const Axis &axis, int64_t first, int64_t count) {
    const int64_t low = first > 0 ? first - 1 : 0, end = first + count < axis.count ? first + count + 1 : axis.count;
    return {low, end, axis.low[low], axis.high[end - 1] - axis.low[low] + 1};
}

// With zeros at both ends, and what the last columns that are computed together read.
static constexpr int64_t doubled_columns(int64_t width) {
    return (width + UPSAMPLE_COLUMNS - 1) / UPSAMPLE_COLUMNS * UPSAMPLE_COLUMNS + 2;
}

// Values of the smaller map, of it doubled along two axes and of it doubled along all, that so many planes and rows need.
static inline int64_t upsample_room(const Extent &map, int64_t planes, int64_t rows) {
    const int64_t sources = planes / 2 + 4, lines = rows / 2 + 4;
    const int64_t small = sources * lines * map.width, wide = sources * (rows + 2) * 2 * map.width;
    return (small + wide + (planes + 2) * (rows + 2) * doubled_columns(2 * map.width)) * BLOCK;
}

void upsample_avx2(const UpsampleTask &task);
void upsample_avx512(const UpsampleTask &task);
void upsample_reference(const UpsampleTask &task);

}  // namespace mmcaf
