// Linear interpolation to another size, the corner samples kept in place.

#pragma once

#include <cstdint>
#include <vector>

namespace mmcaf {

// Sample i of `count` is (1 - weight[i]) source[low[i]] + weight[i] source[high[i]].
struct Axis {
    const int32_t *low, *high;
    const float *weight;
    int64_t count;
};

struct Resizing {
    Axis depth, height, width;
};

// What an axis points to.
class AxisTable {
   public:
    AxisTable(int64_t from, int64_t to);
    Axis axis() const { return {low_.data(), high_.data(), weight_.data(), static_cast<int64_t>(low_.size())}; }

   private:
    std::vector<int32_t> low_, high_;
    std::vector<float> weight_;
};

}  // namespace mmcaf
