// A 3x3x3 convolution in groups of channels, zero padded by one, clipped: with as many channels in a group of y as of x.

#pragma once

#include <limits>
#include <memory>

#include "extent.hpp"
#include "parallel.hpp"

namespace mmcaf {

struct GroupedWeights {
    const float *taps;    // [C, group, 3, 3, 3]; of an i8 map whole numbers from -127 to 127
    const float *scales;  // [C], what the sums are multiplied by
    const float *bias;    // [C]
};

class GroupedConvolution {
   public:
    struct Options {
        int64_t group = 4;   // channels: 4, 8 or 16
        int64_t stride = 1;  // along each axis: 1 or 2
        float lower = -std::numeric_limits<float>::infinity(), upper = std::numeric_limits<float>::infinity();
    };

    // Throws std::invalid_argument where unsupported() has a reason, or for wrong weights. The form of the kernel is
    // chosen here, by features().
    GroupedConvolution(const Extent &map, Stored in, Stored out, const Options &options, const GroupedWeights &weights);
    ~GroupedConvolution();
    GroupedConvolution(const GroupedConvolution &) = delete;
    GroupedConvolution &operator=(const GroupedConvolution &) = delete;

    // Why such maps are not computed, or null.
    static const char *unsupported(const Extent &map, Stored in, Stored out, const Options &options);
    static Extent answer(const Extent &map, int64_t stride);

    // x [N, D, H, W, C] to y [N, D', H', W', C]. May run on several threads at once.
    void run(const void *x, void *y, const Parallel &parallel) const;

   private:
    struct Plan;
    std::unique_ptr<const Plan> plan_;
};

}  // namespace mmcaf
