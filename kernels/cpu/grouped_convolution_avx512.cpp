#include "lanes_avx512.hpp"
#include "grouped_convolution_body.hpp"

namespace mmcaf {

void grouped_avx512(const GroupedTask &task) { convolve<InFloats>(task); }

}  // namespace mmcaf
