#include "area_resize.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace mmcaf {

namespace {

constexpr int64_t kTogether = 8;  // rows whose columns are summed at once, side by side in memory
constexpr float kWhole = 8388608;  // 2^23, from which on every value is a whole number

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

// together [width, kTogether], of which `count` rows are of interest, to summed [count, columns.outputs].
void sum_of_columns(const float *together, int64_t count, const AxisSums &columns, float *summed) {
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
        for (int64_t row = 0; row < count; ++row) summed[row * columns.outputs + column] = sums[row];
    }
}

template <class Value>
void columns_then_rows(const Value *image, int64_t height, int64_t width, int64_t stride, const AxisSums &rows,
                       const AxisSums &columns, float *resized) {
    std::vector<float> together(width * kTogether), summed(height * columns.outputs);
    for (int64_t top = 0; top < height; top += kTogether) {
        const int64_t count = std::min(kTogether, height - top);
        for (int64_t row = 0; row < count; ++row) {
            const Value *line = image + (top + row) * stride;
            for (int64_t x = 0; x < width; ++x) together[x * kTogether + row] = static_cast<float>(line[x]);
        }
        sum_of_columns(together.data(), count, columns, &summed[top * columns.outputs]);
    }
    for (int64_t output = 0; output < rows.outputs; ++output) {
        sum_of_rows(summed.data(), columns.outputs, columns.outputs, rows, output, resized + output * columns.outputs);
    }
}

// As rintf, of whose calls a loop makes no vectors without SSE 4.1.
inline float rounded(float value) {
    const float size = std::fabs(value);
    return size < kWhole ? std::copysign((size + kWhole) - kWhole, value) : value;
}

template <class Function> void each(float *values, int64_t count, const Function &function) {
    for (int64_t at = 0; at < count; ++at) values[at] = function(values[at]);
}

void change(float *values, int64_t count, const Changes &changes) {
    for (int64_t at = 0; at < changes.count; ++at) {
        const float operand = changes.operands[at];
        switch (static_cast<Change>(changes.kinds[at])) {
            case Change::subtract:
                each(values, count, [=](float value) { return value - operand; });
                break;
            case Change::multiply:
                each(values, count, [=](float value) { return value * operand; });
                break;
            case Change::divide:
                each(values, count, [=](float value) { return value / operand; });
                break;
            case Change::limit:
                each(values, count, [](float value) {
                    const float positive = value < 0 ? 0 : value;
                    return positive > 1 ? 1 : positive;
                });
                break;
            case Change::round:
                each(values, count, rounded);
                break;
            case Change::floor:
                each(values, count, [](float value) {
                    const float nearest = rounded(value);
                    return nearest > value ? nearest - 1 : nearest;
                });
                break;
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
        sum_of_columns(together.data(), count, columns, resized + top * columns.outputs);
    }
}

template <class Value>
void area_resize(const Value *image, int64_t height, int64_t width, int64_t stride, const AreaResize &resize,
                 float *resized) {
    if (resize.before.count) {
        std::vector<float> changed(height * width);
        for (int64_t row = 0; row < height; ++row) {
            float *line = &changed[row * width];
            for (int64_t x = 0; x < width; ++x) line[x] = static_cast<float>(image[row * stride + x]);
            change(line, width, resize.before);
        }
        AreaResize rest = resize;
        rest.before.count = 0;
        return area_resize(changed.data(), height, width, width, rest, resized);
    }
    if (resize.columns_first) {
        columns_then_rows(image, height, width, stride, resize.rows, resize.columns, resized);
    } else {
        area_resize(image, width, stride, resize.rows, resize.columns, resized);
    }
    for (int64_t row = 0; row < resize.rows.outputs; ++row) {
        change(resized + row * resize.columns.outputs, resize.columns.outputs, resize.after);
    }
}

template void area_resize(const int16_t *, int64_t, int64_t, const AxisSums &, const AxisSums &, float *);
template void area_resize(const float *, int64_t, int64_t, const AxisSums &, const AxisSums &, float *);
template void area_resize(const int16_t *, int64_t, int64_t, int64_t, const AreaResize &, float *);
template void area_resize(const float *, int64_t, int64_t, int64_t, const AreaResize &, float *);

}  // namespace mmcaf
