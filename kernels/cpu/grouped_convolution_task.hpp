// What the forms of the grouped convolution share: one task, and how its weights lie.

#pragma once

#include "grouped_convolution.hpp"

namespace mmcaf {

// Some rows and planes of one block of channels.
struct GroupedTask {
    const void *x;
    void *y;
    Extent map, answer;
    Stored in, out;
    GroupedConvolution::Options options;
    int64_t n, channel;
    int64_t plane, planes, row, rows;  // of y
    const float *taps;                 // the block's, [27, group, 16]
    const int8_t *bytes;               // or, in whole numbers, [27, group / 4, 16, 4], and what each sum starts with
    const uint16_t *pairs;             // or, in bf16, [27, group / 2, 16, 2]
    const float *ends;                 // scales and bias, [2, 16]
    GroupedWeights reference;          // of all channels, for the reference alone
    void *room;
};

// Planes, rows and columns of x that so many of y read.
static constexpr int64_t read_by(int64_t count, int64_t stride) { return (count - 1) * stride + 3; }
static constexpr int64_t GROUPED_COLUMNS = 12;  // of y that are computed together at most; a divisor of many maps' width
static constexpr int64_t staged_columns(const Extent &answer, int64_t stride) {
    return read_by((answer.width + GROUPED_COLUMNS - 1) / GROUPED_COLUMNS * GROUPED_COLUMNS, stride);
}

void grouped_avx2(const GroupedTask &task);
void grouped_avx512(const GroupedTask &task);
void grouped_vnni(const GroupedTask &task);  // i8 maps alone
void grouped_bf16(const GroupedTask &task);  // bf16 maps alone, with taps in bf16
void grouped_reference(const GroupedTask &task);

}  // namespace mmcaf
