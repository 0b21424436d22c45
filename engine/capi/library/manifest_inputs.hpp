// The parts of a manifest that tell how an input is made; each throws Invalid.
#pragma once

#include <string>

#include "fields.hpp"
#include "manifest.hpp"

namespace mmcaf {

PreprocessingSpec preprocessing_of(const Json &json, const std::string &where);
ImageSpec image_of(const Json &json, const std::string &where);
TableSpec table_of(const Json &json, const std::string &where);

}  // namespace mmcaf
