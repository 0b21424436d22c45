#include "lanes_avx2.hpp"
#include "grouped_convolution_body.hpp"

namespace mmcaf {

void grouped_avx2(const GroupedTask &task) { convolve<InFloats>(task); }

}  // namespace mmcaf
