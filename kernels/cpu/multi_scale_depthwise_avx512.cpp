#include "lanes_avx512.hpp"
#include "multi_scale_depthwise_body.hpp"

namespace mmcaf {

void multi_scale_avx512(const MultiScaleTask &task) { sum_up<InFloats>(task); }

}  // namespace mmcaf
