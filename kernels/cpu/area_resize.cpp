#include "area_resize.hpp"

#include <algorithm>
#include <vector>

namespace mmcaf {

namespace {

constexpr int64_t kTogether = 8;  // rows whose columns are summed at once, side by side in memory

template <class Value>
void sum_of_rows(const Value *image, int64_t width, int64_t stride, const AxisSums &rows, int64_t output, float *sum) {
    for (int64_t term = rows.starts[output]; term < rows.starts[output + 1]; ++term) {
        const Value *row = image + rows.pixels[term] * stride;
        const float weight = rows.weights[term];
        if (term == rows.starts[output]) {
            for (int64_t x = 0; x < width; ++x) sum[x] = static_cast<float>(row[x]) * weight;
        } else {
            for (int64_t x = 0; x < width; ++x) sum[x] += static_cast<float>(row[x]) * weight;
        }
    }
}

}  // namespace

template <class Value>
void area_resize(const Value *image, int64_t width, int64_t stride, const AxisSums &rows, const AxisSums &columns,
                 float *resized) {
    std::vector<float> line(width), together(width * kTogether);
    for (int64_t top = 0; top < rows.outputs; top += kTogether) {
        const int64_t count = std::min(kTogether, rows.outputs - top);
        for (int64_t row = 0; row < count; ++row) {
            sum_of_rows(image, width, stride, rows, top + row, line.data());
            for (int64_t x = 0; x < width; ++x) together[x * kTogether + row] = line[x];
        }
        for (int64_t column = 0; column < columns.outputs; ++column) {
            float sums[kTogether];
            for (int64_t term = columns.starts[column]; term < columns.starts[column + 1]; ++term) {
                const float *pixel = &together[columns.pixels[term] * kTogether];
                const float weight = columns.weights[term];
                if (term == columns.starts[column]) {
                    for (int64_t row = 0; row < kTogether; ++row) sums[row] = pixel[row] * weight;
                } else {
                    for (int64_t row = 0; row < kTogether; ++row) sums[row] += pixel[row] * weight;
                }
            }
            for (int64_t row = 0; row < count; ++row) resized[(top + row) * columns.outputs + column] = sums[row];
        }
    }
}

template void area_resize(const int16_t *, int64_t, int64_t, const AxisSums &, const AxisSums &, float *);
template void area_resize(const float *, int64_t, int64_t, const AxisSums &, const AxisSums &, float *);

}  // namespace mmcaf
