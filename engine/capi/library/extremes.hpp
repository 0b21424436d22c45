// What the values of a series tell of it, slice by slice: whether there is anything to be seen, and of one volume; as
// mmcaf_engine/study/extremes.py has it.

#pragma once

#include <string>

#include "manifest.hpp"
#include "plane.hpp"

namespace mmcaf {

// Looks at the slices of one series in any order, from any thread. `name` is what messages call the series.
class Extremes {
   public:
    Extremes(const Shape &shape, std::string name);

    // Error MMCAF_STUDY: a value is NaN or infinite.
    void look(size_t index, const Slice &slice);

    // Once every slice was looked at. Error MMCAF_STUDY: every voxel has the same value.
    void refuse_one_value() const;

    // What is irregular, once every slice was looked at.
    std::vector<std::string> warnings(Intensity intensity) const;

   private:
    std::string without_air() const;
    std::string blank() const;
    std::string repeated() const;
    std::string within_each_other() const;
    std::string strays() const;
    std::vector<float> differences(size_t apart) const;
    bool is_blank(size_t slice) const { return lowest_[slice] == highest_[slice]; }

    Shape shape_;
    std::string name_;
    std::array<size_t, 2> steps_{};
    size_t sampled_ = 0;  // of a slice
    std::vector<double> lowest_, highest_;
    std::vector<float> samples_;
};

}  // namespace mmcaf
