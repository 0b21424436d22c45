// Where kernels go in a network, as mmcaf_kernels/cpu/openvino/placement.py writes it down: the same edits, done here.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <openvino/core/model.hpp>

#include "kernels.hpp"

namespace mmcaf {

// The end of a placement's name, after that of the model's file.
extern const char *const PLACEMENT_ENDING;

// Puts kernels into a network that OpenVINO read from the model, whose inputs have their shapes.
// Throws std::runtime_error: the placement is damaged, or serves another model, OpenVINO or state of the operators; the
// network is then of no use.
void place_kernels(ov::Model &network, const std::vector<uint8_t> &placement, const std::string &model_sha256,
                   const Kernels &kernels);

}  // namespace mmcaf
