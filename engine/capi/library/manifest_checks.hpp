// What must agree within a manifest, as far as an answer depends on it; each throws Invalid.
#pragma once

#include <string>

#include "manifest.hpp"

namespace mmcaf {

void check_axes(const TensorSpec &spec, const std::string &where);
void check_preprocessing(const PreprocessingSpec &spec, const std::string &where);
void check_scaling(const TableField &field, const std::string &scaling, const std::string &where);
void check_field(const TableField &field, const std::string &where);
void check_consistent(const Manifest &manifest);

}  // namespace mmcaf
