#include "lanes_avx2.hpp"
#include "upsample_depthwise_body.hpp"

namespace mmcaf {

void upsample_avx2(const UpsampleTask &task) { upsample(task); }

}  // namespace mmcaf
