#include "lanes_avx2.hpp"
#include "peaks_body.hpp"

namespace mmcaf {

float peak_f32_avx2(int64_t rounds) { return peak_f32(rounds); }

float sum_avx2(const float *values, int64_t count) { return sum(values, count); }

}  // namespace mmcaf
