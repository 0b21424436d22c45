#include "resize.hpp"

#include <algorithm>

namespace mmcaf {

AxisTable::AxisTable(int64_t from, int64_t to) : low_(to), high_(to), weight_(to) {
    for (int64_t i = 0; i < to; ++i) {
        const double place = to > 1 ? static_cast<double>(i) * (from - 1) / (to - 1) : 0.0;
        low_[i] = static_cast<int32_t>(std::min(static_cast<int64_t>(place), from - 1));
        high_[i] = static_cast<int32_t>(std::min<int64_t>(low_[i] + 1, from - 1));
        weight_[i] = static_cast<float>(place - low_[i]);
    }
}

}  // namespace mmcaf
