#include "resize.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "error.hpp"

namespace mmcaf {

namespace {

constexpr size_t kLargestFactor = 16;  // sides of a block whose sum of whole values is exact in single precision
constexpr size_t kFewestPeriods = 12;  // as in resize.py, where terms of weight 0 are added to axes of fewer

struct Weighted {
    int64_t first;  // input pixel
    std::vector<float> weights;  // of it and the next ones
};

Axis axis_of(const std::vector<Weighted> &outputs, size_t source, bool with_zeros) {
    Axis axis;
    axis.starts.push_back(0);
    for (const Weighted &output : outputs) {
        for (size_t tap = 0; tap < output.weights.size(); ++tap) {
            if (!with_zeros && output.weights[tap] == 0) continue;
            axis.pixels.push_back(std::min<int64_t>(output.first + tap, source - 1));
            axis.weights.push_back(output.weights[tap]);
        }
        axis.starts.push_back(static_cast<int64_t>(axis.pixels.size()));
    }
    return axis;
}

// Both axes are counted in units in which an output pixel is `source` and an input pixel `target` wide.
std::vector<Weighted> coverage(int64_t source, int64_t target) {
    int64_t most = 0;
    for (int64_t output = 0; output < target; ++output) {
        const int64_t start = output * source;
        most = std::max(most, (start + source + target - 1) / target - start / target);
    }
    std::vector<Weighted> outputs;
    for (int64_t output = 0; output < target; ++output) {
        const int64_t start = output * source, first = start / target;
        Weighted one{first, {}};
        for (int64_t tap = 0; tap < most; ++tap) {
            const int64_t left = (first + tap) * target;
            const int64_t overlap = std::min(start + source, left + target) - std::max(start, left);
            const double share = static_cast<double>(std::max<int64_t>(overlap, 0)) / static_cast<double>(source);
            one.weights.push_back(static_cast<float>(share));
        }
        outputs.push_back(one);
    }
    return outputs;
}

// The input pixel under each output pixel's left edge and the next one, which weighs the share that lies beyond the first.
std::vector<Weighted> neighbours(size_t source, size_t target) {
    const double ratio = static_cast<double>(target) / static_cast<double>(source), inverse = 1.0 / ratio;
    std::vector<Weighted> outputs;
    for (size_t output = 0; output < target; ++output) {
        const auto under = static_cast<int64_t>(std::floor(static_cast<double>(output) * inverse));
        const int64_t first = std::min<int64_t>(under, source - 1);
        const double edge = static_cast<double>(first + 1) * ratio;
        const auto beyond = static_cast<float>(static_cast<double>(output + 1) - edge);
        const float share = beyond <= 0 ? 0 : beyond - std::floor(beyond);
        outputs.push_back({first, {1 - share, share}});
    }
    return outputs;
}

std::vector<Weighted> triangles(size_t source, size_t target) {
    const double ratio = static_cast<double>(source) / static_cast<double>(target), reach = std::max(ratio, 1.0);
    std::vector<int64_t> firsts, ends;
    int64_t most = 0;
    const auto centre_of = [&](size_t output) { return (static_cast<double>(output) + 0.5) * ratio; };
    for (size_t output = 0; output < target; ++output) {
        const double centre = centre_of(output);
        firsts.push_back(static_cast<int64_t>(std::max(std::floor(centre - reach + 0.5), 0.0)));
        ends.push_back(
            static_cast<int64_t>(std::min(std::floor(centre + reach + 0.5), static_cast<double>(source))));
        most = std::max(most, ends.back() - firsts.back());
    }
    std::vector<Weighted> outputs;
    for (size_t output = 0; output < target; ++output) {
        std::vector<double> weights;
        double total = 0;
        for (int64_t pixel = firsts[output]; pixel < firsts[output] + most; ++pixel) {
            const double away = std::abs(static_cast<double>(pixel) + 0.5 - centre_of(output));
            weights.push_back(pixel < ends[output] ? std::max(1.0 - away / reach, 0.0) : 0.0);
            total += weights.back();
        }
        Weighted one{firsts[output], {}};
        for (const double weight : weights) one.weights.push_back(static_cast<float>(weight / total));
        outputs.push_back(one);
    }
    return outputs;
}

void check_sides(std::initializer_list<size_t> sides) {
    for (const size_t side : sides) {
        if (side >= 1 && side <= kMostPixels) continue;
        const size_t *all = sides.begin();
        throw Error(MMCAF_USAGE, "resize: " + std::to_string(all[0]) + " x " + std::to_string(all[1]) + " to " +
                                     std::to_string(all[2]) + " x " + std::to_string(all[3]) +
                                     " pixels; sides of 1 to " + std::to_string(kMostPixels) + " are resized.");
    }
}

Plane transposed(const Plane &plane) {
    Plane turned;
    turned.reshape(plane.columns, plane.rows);
    for (size_t row = 0; row < plane.rows; ++row) {
        for (size_t column = 0; column < plane.columns; ++column) {
            turned.values[column * plane.rows + row] = plane.values[row * plane.columns + column];
        }
    }
    return turned;
}

void round_to_even(Plane &plane) {
    for (float &value : plane.values) value = std::nearbyint(value);
}

}  // namespace

Axis area_axis(size_t source, size_t target, bool one_grows) {
    if (one_grows) return axis_of(neighbours(source, target), source, true);
    const auto outputs = coverage(static_cast<int64_t>(source), static_cast<int64_t>(target));
    return axis_of(outputs, source, std::gcd(source, target) < kFewestPeriods);
}

Axis triangle_axis(size_t source, size_t target) { return axis_of(triangles(source, target), source, true); }

AreaResizer::AreaResizer(size_t rows, size_t columns, size_t new_rows, size_t new_columns)
    : rows_(rows), columns_(columns), new_rows_(new_rows), new_columns_(new_columns) {
    check_sides({rows, columns, new_rows, new_columns});
    const bool one_grows = new_rows > rows || new_columns > columns;
    down_ = area_axis(rows, new_rows, one_grows);
    across_ = area_axis(columns, new_columns, one_grows);
}

void AreaResizer::resize(const Slice &slice, Plane &resized) const {
    resized.reshape(new_rows_, new_columns_);
    const auto width = static_cast<int64_t>(columns_);
    if (rows_ == new_rows_ && columns_ == new_columns_) {
        if (slice.whole != nullptr) {
            std::copy_n(slice.whole, rows_ * columns_, resized.values.data());
        } else {
            std::copy_n(slice.real, rows_ * columns_, resized.values.data());
        }
    } else if (slice.whole != nullptr) {
        area_resize(slice.whole, width, width, down_.sums(), across_.sums(), resized.values.data());
    } else {
        area_resize(slice.real, width, width, down_.sums(), across_.sums(), resized.values.data());
    }
}

// OpenCV averages along the columns first, which rounds otherwise; where both axes shrink by whole factors it divides the
// plain sum of a block.
void AreaResizer::resize_whole(const Plane &slice, Plane &resized) const {
    const bool same = rows_ == new_rows_ && columns_ == new_columns_;
    const size_t down = rows_ / new_rows_, across = columns_ / new_columns_;
    if (!same && rows_ % new_rows_ == 0 && columns_ % new_columns_ == 0 && std::max(down, across) <= kLargestFactor) {
        sum_blocks(slice, resized);
        return;
    }
    if (same) {
        resized = slice;
    } else {
        const Plane turned = transposed(slice);
        Plane found;
        found.reshape(new_columns_, new_rows_);
        const auto width = static_cast<int64_t>(rows_);
        area_resize(turned.values.data(), width, width, across_.sums(), down_.sums(), found.values.data());
        resized = transposed(found);
    }
    round_to_even(resized);
}

// A mean in the middle of two whole values becomes the even one; where both sides are halved, the upper one.
void AreaResizer::sum_blocks(const Plane &slice, Plane &resized) const {
    const size_t down = rows_ / new_rows_, across = columns_ / new_columns_;
    resized.reshape(new_rows_, new_columns_);
    const float share = static_cast<float>(1.0 / static_cast<double>(down * across));
    for (size_t row = 0; row < new_rows_; ++row) {
        for (size_t column = 0; column < new_columns_; ++column) {
            float total = 0;
            for (size_t below = 0; below < down; ++below) {
                const float *line = &slice.values[(row * down + below) * columns_ + column * across];
                for (size_t beside = 0; beside < across; ++beside) total += line[beside];
            }
            const bool halved = down == 2 && across == 2;
            resized.values[row * new_columns_ + column] =
                halved ? std::floor((total + 2) * 0.25f) : std::nearbyint(total * share);
        }
    }
}

Plane resize_bilinear(const Plane &image, size_t rows, size_t columns) {
    const Axis down = triangle_axis(image.rows, rows), across = triangle_axis(image.columns, columns);
    const auto width = static_cast<int64_t>(image.columns);
    Plane resized;
    resized.reshape(rows, columns);
    area_resize(image.values.data(), width, width, down.sums(), across.sums(), resized.values.data());
    return resized;
}

}  // namespace mmcaf
