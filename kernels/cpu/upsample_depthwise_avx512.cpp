#include "lanes_avx512.hpp"
#include "upsample_depthwise_body.hpp"

namespace mmcaf {

void upsample_avx512(const UpsampleTask &task) { upsample(task); }

}  // namespace mmcaf
