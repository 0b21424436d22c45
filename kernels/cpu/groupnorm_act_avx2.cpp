#include "groupnorm_act_loops.hpp"

namespace mmcaf {

GroupNormParts groupnorm_act_avx2() { return {statistics<float>, statistics<uint16_t>, apply}; }

}  // namespace mmcaf
