// From a volume to the network's windows, by the manifest's steps; as mmcaf_engine/inputs/windows.py has it.

#pragma once

#include <memory>
#include <optional>

#include "extremes.hpp"
#include "orientation.hpp"
#include "resize.hpp"
#include "slices.hpp"

namespace mmcaf {

// Every slice of a series, processed once, and where the windows lie in them.
//
// slices: float32 of `shape`, toward head, back and left. before: slices of padding at the feet. depth: slices of a window.
// starts: first slice of each window, rising. resized_from: how many slices the series had, where it was resized whole;
// else 0.
struct Windows {
    std::vector<float> slices;
    Shape shape{};
    size_t depth = 0;
    std::vector<int64_t> starts;
    std::string axes = "SPL";
    size_t resized_from = 0, before = 0;

    size_t size() const { return starts.size(); }

    // The last three axes of the network's input, as the manifest's `axes` has them.
    Shape window_shape() const;
    std::vector<float> window(size_t index) const;
};

// What a study's windows will be: the shape of the processed slices, each window's first slice, and how many slices of
// padding come before the series' own.
struct Layout {
    Shape shape{};
    std::vector<int64_t> starts;
    size_t before = 0;
};

// Lays windows over a series, or over a part of it, so that each slice is seen.
//
// stride: 0 is the manifest's. Error MMCAF_USAGE: `stride` would skip slices, or it or `span` came although there are no
// windows. Error MMCAF_STUDY: a single slice for a whole volume, or slices smaller than a centre crop.
Layout lay_out(const Shape &shape, const PreprocessingSpec &spec, int64_t stride, const std::optional<SliceSpan> &span);

// Steps that a slice of one size takes alone.
class SliceSteps {
   public:
    SliceSteps(size_t rows, size_t columns, std::vector<Step> steps);

    size_t rows() const { return rows_; }  // afterwards
    size_t columns() const { return columns_; }
    Plane process(const Slice &slice) const;

   private:
    std::vector<Step> steps_;
    std::vector<std::unique_ptr<AreaResizer>> resizers_;  // of each step, or null
    size_t rows_, columns_;
};

// Takes the slices of one series in any order, from any thread, and gives the windows once it has them all. Arguments and
// errors are those of `lay_out`; `name` is what messages call the series.
class Preprocessor {
   public:
    Preprocessor(const Shape &shape, const PreprocessingSpec &spec, int64_t stride, const std::optional<SliceSpan> &span,
                 const std::string &name);

    // Error MMCAF_STUDY: a value is NaN or infinite.
    void put(size_t index, const Slice &slice);

    Windows windows();

    const Extremes &extremes() const { return extremes_; }

   private:
    void process_whole_volume();

    Shape shape_;
    const PreprocessingSpec &spec_;
    Layout layout_;
    Extremes extremes_;
    std::vector<Step> of_volume_;  // from the first step on that needs the whole volume
    std::unique_ptr<SliceSteps> of_slices_;
    std::vector<float> slices_;
    Shape held_{};
};

}  // namespace mmcaf
