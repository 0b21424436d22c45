// ReLU(depthwise 3x3x3 convolution, zero padded, of a map doubled along each axis by linear interpolation, + bias).

#pragma once

#include <memory>

#include "extent.hpp"
#include "parallel.hpp"

namespace mmcaf {

struct UpsampleWeights {
    const float *taps;  // [C, 27]
    const float *bias;  // [C]
};

class UpsampleDepthwise {
   public:
    // Throws std::invalid_argument where unsupported() has a reason. The form of the kernel is chosen here, by features().
    UpsampleDepthwise(const Extent &map, Stored in, Stored out, const UpsampleWeights &weights);
    ~UpsampleDepthwise();
    UpsampleDepthwise(const UpsampleDepthwise &) = delete;
    UpsampleDepthwise &operator=(const UpsampleDepthwise &) = delete;

    // Why such maps are not computed, or null.
    static const char *unsupported(const Extent &map, Stored in, Stored out);
    static Extent answer(const Extent &map);

    // x [N, D, H, W, C] to y [N, 2 D, 2 H, 2 W, C]. May run on several threads at once.
    void run(const void *x, void *y, const Parallel &parallel) const;

   private:
    struct Plan;
    std::unique_ptr<const Plan> plan_;
};

}  // namespace mmcaf
