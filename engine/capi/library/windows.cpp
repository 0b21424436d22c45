#include "windows.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cancel.hpp"
#include "error.hpp"
#include "pooling.hpp"

namespace mmcaf {

namespace {

bool of_whole_volumes(const Step &step) {
    return step.kind == Step::Kind::resize_volume || step.kind == Step::Kind::standardise;
}

size_t product(const Shape &shape) { return shape[0] * shape[1] * shape[2]; }

// [D, H, W] toward head, back and left of a size in the order of the network's axes.
Shape canonical_size(const PreprocessingSpec &spec) {
    const Turn axes = axes_of(spec.axes);
    Shape shape{1, 1, 1};
    for (const Step &step : spec.steps) {
        if (step.kind != Step::Kind::resize_volume) continue;
        for (size_t axis = 0; axis < 3; ++axis) shape[axes.from[axis]] = step.size[axis];
    }
    return shape;
}

// Each window's first slice, rising, of at least a window's slices, counted from where windows are laid from.
std::vector<int64_t> window_starts(int64_t count, int64_t depth, int64_t stride, const std::optional<SliceSpan> &span) {
    const int64_t last = count - depth;
    int64_t first = 0, end = count;
    if (span) {
        first = span->first - 1;
        end = span->last;
        if (end - first < depth) {
            const int64_t middle = (first + end - 1) / 2 - depth / 2;
            return {std::min(std::max<int64_t>(middle, 0), last)};
        }
    }
    std::vector<int64_t> starts;
    for (int64_t start = first; start < end - depth; start += stride) starts.push_back(start);
    starts.push_back(end - depth);
    return starts;
}

bool from_head(const PreprocessingSpec &spec) {
    return spec.windows && spec.windows->order_by_axes && spec.axes.find('I') != std::string::npos;
}

// The sum in the order that NumPy has, so that a standardised volume has the same bits.
template <class Term> double pairwise_sum(size_t first, size_t count, const Term &term) {
    if (count > 128) {
        const size_t half = count / 2 - count / 2 % 8;
        return pairwise_sum(first, half, term) + pairwise_sum(first + half, count - half, term);
    }
    if (count < 8) {
        double sum = 0;
        for (size_t at = 0; at < count; ++at) sum += term(first + at);
        return sum;
    }
    double sums[8];
    for (size_t lane = 0; lane < 8; ++lane) sums[lane] = term(first + lane);
    size_t at = 8;
    for (; at < count - count % 8; at += 8) {
        for (size_t lane = 0; lane < 8; ++lane) sums[lane] += term(first + at + lane);
    }
    double sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    for (; at < count; ++at) sum += term(first + at);
    return sum;
}

void standardise(std::vector<float> &values) {
    constexpr size_t kBuffer = 8192;  // values that NumPy converts to double precision at a time
    const auto count = static_cast<double>(values.size());
    double total = 0;
    for (size_t first = 0; first < values.size(); first += kBuffer) {
        total += pairwise_sum(first, std::min(kBuffer, values.size() - first),
                              [&](size_t at) { return static_cast<double>(values[at]); });
    }
    const double mean = total / count;
    const double squares = pairwise_sum(0, values.size(), [&](size_t at) {
        const double apart = static_cast<double>(values[at]) - mean;
        return apart * apart;
    });
    const double deviation = std::sqrt(squares / count);
    const double divisor = deviation == 0 ? 1 : deviation;
    for (float &value : values) value = static_cast<float>((static_cast<double>(value) - mean) / divisor);
}

void apply_to_each(const Step &step, std::vector<float> &values) {
    if (step.kind == Step::Kind::subtract) {
        const auto lowered = static_cast<float>(step.value);
        for (float &value : values) value -= lowered;
    } else if (step.kind == Step::Kind::clip_scale) {
        const auto lower = static_cast<float>(step.lower);
        const float range = static_cast<float>(step.upper) - lower;
        for (float &value : values) value = std::min(std::max((value - lower) / range, 0.0f), 1.0f);
    }
}

Plane cropped(const Plane &plane, size_t rows, size_t columns) {
    const size_t top = (plane.rows - rows) / 2, left = (plane.columns - columns) / 2;
    Plane kept;
    kept.reshape(rows, columns);
    for (size_t row = 0; row < rows; ++row) {
        std::copy_n(&plane.values[(top + row) * plane.columns + left], columns, &kept.values[row * columns]);
    }
    return kept;
}

void round_to_even(Plane &plane) {
    for (float &value : plane.values) value = std::nearbyint(value);
}

Plane copy_of(const Slice &slice) {
    Plane plane;
    plane.reshape(slice.rows, slice.columns);
    const size_t count = slice.rows * slice.columns;
    if (slice.whole != nullptr) {
        std::copy_n(slice.whole, count, plane.values.data());
    } else {
        std::copy_n(slice.real, count, plane.values.data());
    }
    return plane;
}

Slice view_of(const Plane &plane) { return {plane.rows, plane.columns, nullptr, plane.values.data()}; }

}  // namespace

Shape Windows::window_shape() const {
    const Turn turn = axes_of(axes);
    const Shape whole{depth, shape[1], shape[2]};
    return {whole[turn.from[0]], whole[turn.from[1]], whole[turn.from[2]]};
}

std::vector<float> Windows::window(size_t index) const {
    const size_t plane = shape[1] * shape[2];
    const float *first = slices.data() + static_cast<size_t>(starts[index]) * plane;
    if (axes == "SPL") return {first, first + depth * plane};
    const Turn turn = axes_of(axes);
    const Shape whole{depth, shape[1], shape[2]}, steps{plane, shape[2], 1}, turned = window_shape();
    std::array<ptrdiff_t, 3> step{};
    ptrdiff_t origin = 0;
    for (size_t axis = 0; axis < 3; ++axis) {
        const auto length = static_cast<ptrdiff_t>(steps[turn.from[axis]]);
        step[axis] = turn.flipped[axis] ? -length : length;
        if (turn.flipped[axis]) origin += length * static_cast<ptrdiff_t>(whole[turn.from[axis]] - 1);
    }
    std::vector<float> window;
    window.reserve(product(turned));
    for (size_t one = 0; one < turned[0]; ++one) {
        for (size_t two = 0; two < turned[1]; ++two) {
            const float *line = first + origin + static_cast<ptrdiff_t>(one) * step[0] + static_cast<ptrdiff_t>(two) * step[1];
            for (size_t three = 0; three < turned[2]; ++three) window.push_back(line[static_cast<ptrdiff_t>(three) * step[2]]);
        }
    }
    return window;
}

Layout lay_out(const Shape &shape, const PreprocessingSpec &spec, int64_t stride, const std::optional<SliceSpan> &span) {
    const auto count = static_cast<int64_t>(shape[0]);
    size_t rows = shape[1], columns = shape[2];
    for (const Step &step : spec.steps) {
        if (step.kind == Step::Kind::center_crop && (rows < step.rows || columns < step.columns)) {
            throw Error(MMCAF_STUDY,
                        "preprocessing: " + std::to_string(rows) + " x " + std::to_string(columns) +
                            " pixels came to a centre crop of " + std::to_string(step.rows) + " x " +
                            std::to_string(step.columns) + ".",
                        {Remedy{"Send a series with a matrix of at least that size.", {}, {}, {}}});
        }
        if (step.kind == Step::Kind::resize || step.kind == Step::Kind::center_crop) {
            rows = step.rows;
            columns = step.columns;
        }
    }
    if (!spec.windows) {
        if (stride != 0 || span) {
            std::vector<Remedy> remedies;
            if (stride != 0) remedies.push_back({"Leave it out", "stride", {}, {}});
            if (span) remedies.push_back({"Leave it out", "slices", {}, {}});
            const std::string given = stride == 0 ? "slices" : span ? "stride and slices" : "stride";
            throw Error(MMCAF_USAGE, given + ": this network takes whole series, not windows of them.", remedies);
        }
        if (count == 1) {
            throw Error(MMCAF_STUDY, "preprocessing: a single slice came; a whole volume was expected.",
                        {Remedy{"Send the series.", {}, {}, {}}});
        }
        return {canonical_size(spec), {0}, 0};
    }
    const int64_t depth = spec.windows->slices;
    if (stride == 0) stride = spec.windows->stride;
    if (stride < 1 || stride > depth) {
        const std::string most = std::to_string(depth);
        throw Error(MMCAF_USAGE,
                    "stride: " + std::to_string(stride) + " slices came; 1 to " + most +
                        " were expected, so that no slice is skipped by windows of " + most + " slices.",
                    {Remedy{"Choose a stride of " + most + " or less.", {}, {}, {}}});
    }
    const int64_t padded = std::max(count, depth);
    const Shape processed{static_cast<size_t>(padded), rows, columns};
    if (!from_head(spec)) return {processed, window_starts(padded, depth, stride, span), 0};
    std::optional<SliceSpan> turned;
    if (span) turned = SliceSpan{count + 1 - span->last, count + 1 - span->first};
    std::vector<int64_t> starts = window_starts(padded, depth, stride, turned);
    std::reverse(starts.begin(), starts.end());
    for (int64_t &start : starts) start = padded - depth - start;
    return {processed, starts, static_cast<size_t>(padded - count)};
}

SliceSteps::SliceSteps(size_t rows, size_t columns, std::vector<Step> steps)
    : steps_(std::move(steps)), rows_(rows), columns_(columns) {
    for (const Step &step : steps_) {
        resizers_.emplace_back();
        if (step.kind == Step::Kind::resize) {
            resizers_.back() = std::make_unique<AreaResizer>(rows_, columns_, step.rows, step.columns);
        }
        if (step.kind == Step::Kind::resize || step.kind == Step::Kind::center_crop) {
            rows_ = step.rows;
            columns_ = step.columns;
        }
    }
}

Plane SliceSteps::process(const Slice &slice) const {
    Plane plane;
    size_t done = 0;
    if (!steps_.empty() && resizers_[0] && steps_[0].rounding != Step::Rounding::opencv) {
        resizers_[0]->resize(slice, plane);  // whole values need no copy in single precision
        if (steps_[0].rounding == Step::Rounding::half_even) round_to_even(plane);
        done = 1;
    } else {
        plane = copy_of(slice);
    }
    for (size_t at = done; at < steps_.size(); ++at) {
        const Step &step = steps_[at];
        if (step.kind == Step::Kind::resize) {
            Plane resized;
            if (step.rounding == Step::Rounding::opencv) {
                resizers_[at]->resize_whole(plane, resized);
            } else {
                resizers_[at]->resize(view_of(plane), resized);
            }
            plane = std::move(resized);
            if (step.rounding == Step::Rounding::half_even) round_to_even(plane);
        } else if (step.kind == Step::Kind::center_crop) {
            plane = cropped(plane, step.rows, step.columns);
        } else {
            apply_to_each(step, plane.values);
        }
    }
    return plane;
}

Preprocessor::Preprocessor(const Shape &shape, const PreprocessingSpec &spec, int64_t stride,
                           const std::optional<SliceSpan> &span, const std::string &name)
    : shape_(shape), spec_(spec), layout_(lay_out(shape, spec, stride, span)), extremes_(shape, name) {
    const auto whole = std::find_if(spec.steps.begin(), spec.steps.end(), of_whole_volumes);
    of_volume_.assign(whole, spec.steps.end());
    of_slices_ = std::make_unique<SliceSteps>(shape[1], shape[2], std::vector<Step>(spec.steps.begin(), whole));
    held_ = layout_.shape;
    if (!spec.windows) {
        held_ = {shape[0], of_slices_->rows(), of_slices_->columns()};
        if (of_volume_.front().kind == Step::Kind::resize_volume) {
            held_ = {shape[0], layout_.shape[1], layout_.shape[2]};
        }
    }
    slices_.resize(product(held_));
}

void Preprocessor::put(size_t index, const Slice &slice) {
    extremes_.look(index, slice);
    Plane plane = of_slices_->process(slice);
    // A resize of the whole volume averages in-plane as slices come, so that no more than that is held.
    if (!of_volume_.empty() && of_volume_.front().kind == Step::Kind::resize_volume) {
        plane.values = pool_area(plane.values.data(), {1, plane.rows, plane.columns}, {1, held_[1], held_[2]});
    }
    const size_t size = held_[1] * held_[2];
    std::copy_n(plane.values.data(), size, &slices_[(layout_.before + index) * size]);
}

Windows Preprocessor::windows() {
    if (!spec_.windows) {
        process_whole_volume();
    } else if (shape_[0] < held_[0]) {
        Plane padding;
        padding.reshape(shape_[1], shape_[2]);
        std::fill(padding.values.begin(), padding.values.end(), static_cast<float>(spec_.windows->pad_value));
        const Plane processed = of_slices_->process(view_of(padding));
        for (size_t slice = 0; slice < held_[0]; ++slice) {
            if (slice >= layout_.before && slice < layout_.before + shape_[0]) continue;
            std::copy(processed.values.begin(), processed.values.end(), &slices_[slice * processed.values.size()]);
        }
    }
    Windows found;
    found.slices = std::move(slices_);
    found.shape = held_;
    found.depth = spec_.windows ? static_cast<size_t>(spec_.windows->slices) : held_[0];
    found.starts = layout_.starts;
    found.axes = spec_.axes;
    found.resized_from = spec_.windows ? 0 : shape_[0];
    found.before = layout_.before;
    return found;
}

void Preprocessor::process_whole_volume() {
    for (const Step &step : of_volume_) {
        check_cancelled();
        if (step.kind == Step::Kind::resize_volume) {
            slices_ = pool_area(slices_.data(), held_, layout_.shape);
            held_ = layout_.shape;
        } else if (step.kind == Step::Kind::standardise) {
            standardise(slices_);
        } else {
            apply_to_each(step, slices_);
        }
    }
}

}  // namespace mmcaf
