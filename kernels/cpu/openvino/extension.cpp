// What OpenVINO asks the library for when it loads it, and what Python asks before.

#include <string>

#include <openvino/core/op_extension.hpp>

#include "../features.hpp"
#include "../library/export.hpp"
#include "operators.hpp"

namespace mmcaf::openvino {
namespace {

std::vector<ov::Extension::Ptr> operators() {
    return {
        gated_lstm(),
        gated_lstm_states(),
        group_norm_act(),
        grouped_convolution(),
        max_pool(),
        multi_scale_depthwise(),
        upsample_depthwise(),
    };
}

std::string names() {
    std::string all;
    for (const auto &made : operators()) {
        const auto *own = dynamic_cast<const ov::BaseOpExtension *>(made.get());
        if (own) all += std::string(own->get_type_info().name) + " ";
    }
    return all;
}

}  // namespace
}  // namespace mmcaf::openvino

OPENVINO_CREATE_EXTENSIONS(mmcaf::openvino::operators())

// The operators' names, with spaces between.
MMCAF_EXPORT const char *mmcaf_operators() {
    static const std::string all = mmcaf::openvino::names();
    return all.c_str();
}

// The instructions that the kernels use here, in the words of MMCAF_CPU_FEATURES.
MMCAF_EXPORT const char *mmcaf_cpu_level() { return mmcaf::level_name(); }

// SHA-256 of what puts the operators into a network, as it was when this was built.
MMCAF_EXPORT const char *mmcaf_placing() { return MMCAF_PLACING; }
