// The operators of the extension, one file each.

#pragma once

#include <openvino/core/extension.hpp>

namespace mmcaf::openvino {

ov::Extension::Ptr gated_lstm();
ov::Extension::Ptr gated_lstm_states();
ov::Extension::Ptr group_norm_act();
ov::Extension::Ptr grouped_convolution();
ov::Extension::Ptr max_pool();
ov::Extension::Ptr multi_scale_depthwise();
ov::Extension::Ptr upsample_depthwise();

}  // namespace mmcaf::openvino
