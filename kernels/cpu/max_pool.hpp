// The largest value of each window of a map.

#pragma once

#include <array>
#include <memory>

#include "extent.hpp"
#include "parallel.hpp"

namespace mmcaf {

class MaxPool {
   public:
    struct Options {
        std::array<int64_t, 3> kernel, strides, before, after;  // along depth, height, width; before and after are pads
    };

    // Throws std::invalid_argument where unsupported() has a reason. The form of the kernel is chosen here, by features().
    MaxPool(const Extent &map, Type type, const Options &options);
    ~MaxPool();
    MaxPool(const MaxPool &) = delete;
    MaxPool &operator=(const MaxPool &) = delete;

    // Why such maps are not computed, or null.
    static const char *unsupported(const Extent &map, Type type, const Options &options);
    static Extent answer(const Extent &map, const Options &options);

    // x [N, D, H, W, C] to y [N, D', H', W', C] of its type; NaN where a window has one. May run on several threads at once.
    void run(const void *x, void *y, const Parallel &parallel) const;

   private:
    struct Plan;
    std::unique_ptr<const Plan> plan_;
};

}  // namespace mmcaf
