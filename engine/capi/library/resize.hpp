// Resizing in-plane, to the bit as mmcaf_engine/inputs/resize.py does it: slices by the area that a pixel covers, images by
// antialiased bilinear weights.

#pragma once

#include "area_resize.hpp"
#include "plane.hpp"

namespace mmcaf {

constexpr size_t kMostPixels = 4096;  // rows or columns, before and after

// Of an axis, what each output pixel is the sum of; see AxisSums.
struct Axis {
    std::vector<int64_t> starts, pixels;
    std::vector<float> weights;

    AxisSums sums() const {
        return {static_cast<int64_t>(starts.size()) - 1, starts.data(), pixels.data(), weights.data()};
    }
};

// From `source` pixels to `target` by coverage; where one of a plane's two axes grows, by two neighbours as OpenCV has it.
Axis area_axis(size_t source, size_t target, bool one_grows);

// From `source` pixels to `target` by triangles of two output pixels' width, or two input pixels' where these are more.
Axis triangle_axis(size_t source, size_t target);

// Resizes slices of one size by area, as OpenCV's INTER_AREA.
class AreaResizer {
   public:
    // Error MMCAF_USAGE: a side outside 1 to kMostPixels.
    AreaResizer(size_t rows, size_t columns, size_t new_rows, size_t new_columns);

    void resize(const Slice &slice, Plane &resized) const;

    // Of whole values below 2^16 to whole values, to the bit as OpenCV does integer pixels. `slice` in single precision.
    void resize_whole(const Plane &slice, Plane &resized) const;

   private:
    void sum_blocks(const Plane &slice, Plane &resized) const;

    size_t rows_, columns_, new_rows_, new_columns_;
    Axis down_, across_;
};

// An image by antialiased bilinear interpolation, as PIL's BILINEAR before it rounds.
Plane resize_bilinear(const Plane &image, size_t rows, size_t columns);

}  // namespace mmcaf
