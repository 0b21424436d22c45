// A bundle's model as OpenVINO reads it: from bytes that were hashed, with no file that the manifest does not list.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <openvino/runtime/core.hpp>

#include "bundle.hpp"

namespace mmcaf {

// A model and what it may be read with: weights beside it, or beside the whole network. As model_files of
// mmcaf_engine/bundle/models.py.
std::vector<std::string> model_files(const Manifest &manifest, const std::string &precision);

// Throws Error(MMCAF_BUNDLE): a file is missing, damaged or altered, or the model names weights that are not listed.
// Error(MMCAF_USAGE): there is no room for a copy of the weights. What OpenVINO throws.
std::shared_ptr<ov::Model> read_model(ov::Core &core, const Bundle &bundle, const std::string &precision);

}  // namespace mmcaf
