// The sum over k in {1, 3, 5} of ReLU6(depthwise convolution of size k + bias_k), zero padded; and that sum resized.

#pragma once

#include <array>
#include <memory>

#include "extent.hpp"
#include "parallel.hpp"

namespace mmcaf {

struct MultiScaleWeights {
    const float *taps;    // [C, 153], the 1 + 27 + 125 weights of each channel; of an i8 map the last 152 in whole
                          // numbers from -127 to 127
    const float *scales;  // [3, C], what the sums of each size are multiplied by
    const float *bias;    // [3, C]
};

class MultiScaleDepthwise {
   public:
    // `resized` are depth, height and width that the sum is resized to by linear interpolation, the corner samples kept
    // in place; or those of the map. Throws std::invalid_argument where supports() has a reason, or for wrong weights.
    // The form of the kernel is chosen here, by features().
    MultiScaleDepthwise(const Extent &map, Stored in, Stored out, std::array<int64_t, 3> resized,
                        const MultiScaleWeights &weights);
    ~MultiScaleDepthwise();
    MultiScaleDepthwise(const MultiScaleDepthwise &) = delete;
    MultiScaleDepthwise &operator=(const MultiScaleDepthwise &) = delete;

    // Why maps of this kind are not computed, or null.
    static const char *unsupported(const Extent &map, Stored in, Stored out, std::array<int64_t, 3> resized);

    // x [N, D, H, W, C] to y [N, *resized, C]. May run on several threads at once.
    void run(const void *x, void *y, const Parallel &parallel) const;

   private:
    struct Plan;
    std::unique_ptr<const Plan> plan_;
};

}  // namespace mmcaf
