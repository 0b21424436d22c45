// Resizing of volumes by adaptive average pooling, to the bit as mmcaf_engine/inputs/pooling.py does it.

#pragma once

#include "plane.hpp"

namespace mmcaf {

// Along an axis of N, output i of n is the plain mean of N's elements floor(i * N / n) to ceil((i + 1) * N / n) - 1. Sums are
// made in double precision, in a fixed order.
std::vector<float> pool_area(const float *values, const Shape &shape, const Shape &target);

}  // namespace mmcaf
