#include "lanes_avx2.hpp"
#include "multi_scale_depthwise_body.hpp"

namespace mmcaf {

void multi_scale_avx2(const MultiScaleTask &task) { sum_up<InFloats>(task); }

}  // namespace mmcaf
