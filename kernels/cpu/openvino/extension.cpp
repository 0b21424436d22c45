// What OpenVINO asks the library for when it loads it.

#include "../features.hpp"
#include "../library/export.hpp"
#include "operators.hpp"

OPENVINO_CREATE_EXTENSIONS(std::vector<ov::Extension::Ptr>({
    mmcaf::openvino::gated_lstm(),
    mmcaf::openvino::gated_lstm_states(),
    mmcaf::openvino::group_norm_act(),
    mmcaf::openvino::grouped_convolution(),
    mmcaf::openvino::max_pool(),
    mmcaf::openvino::multi_scale_depthwise(),
    mmcaf::openvino::upsample_depthwise(),
}))

// The instructions that the kernels use here, in the words of MMCAF_CPU_FEATURES.
MMCAF_EXPORT const char *mmcaf_cpu_level() { return mmcaf::level_name(); }
