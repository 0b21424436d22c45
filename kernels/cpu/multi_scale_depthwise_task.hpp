// What the forms of the multi-scale kernel share: one task, and how its weights lie.

#pragma once

#include "extent.hpp"
#include "multi_scale_depthwise.hpp"
#include "resize.hpp"

namespace mmcaf {

static constexpr int MULTI_SCALE_TAPS = 1 + 27 + 125;
static constexpr int WHOLE_DEPTH = 6;  // up to so many planes are computed together, deeper maps by TILE planes
static constexpr int TILE = 4;

// Some rows and planes of one block of channels.
struct MultiScaleTask {
    const void *x;
    void *y;
    Extent map;
    Stored in, out;
    int64_t n, channel;
    int64_t plane, planes, row, rows;  // of the sum
    const float *weights;              // the block's, MULTI_SCALE_VECTORS of 16
    const int8_t *packs;               // the block's for several products at once, or null
    MultiScaleWeights reference;       // of all channels, for the reference alone
    const Resizing *resizing;          // null where the sum is the answer
    int64_t out_row, out_rows;         // of the answer, where it is resized
    void *room;
};

// Vectors of 16 floats, by row and column of the taps: the five of size 5 along the depth and, but at the rim, the three
// of size 3; then the tap of size 1, three scales, three biases.
static constexpr int MULTI_SCALE_VECTORS = 25 * 5 + 9 * 3 + 1 + 3 + 3;
static constexpr int MULTI_SCALE_LAST = 25 * 5 + 9 * 3;

static constexpr bool at_rim(int row, int column) { return row == 0 || row == 4 || column == 0 || column == 4; }

void multi_scale_avx2(const MultiScaleTask &task);
void multi_scale_avx512(const MultiScaleTask &task);
void multi_scale_vnni(const MultiScaleTask &task);  // i8 maps alone
void multi_scale_bf16(const MultiScaleTask &task);  // bf16 maps alone, with taps of sizes 3 and 5 in bf16
void multi_scale_reference(const MultiScaleTask &task);

}  // namespace mmcaf
