// Sums without any error but the last rounding, so that neither the order of the numbers nor the compiler changes a bit of
// an answer: what Python's math.fsum gives.

#pragma once

#include <vector>

namespace mmcaf {

// Of finite numbers whose sum is finite.
double exact_sum(const std::vector<double> &values);

double exact_mean(const std::vector<double> &values);

}  // namespace mmcaf
