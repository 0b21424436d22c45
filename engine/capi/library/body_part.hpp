// Whether a network is for the part of the body that a study says was examined.

#pragma once

#include <string>

#include "volume.hpp"

namespace mmcaf {

// Adds a warning to the facts where the rule asks for one, or a remark where nothing says what was examined.
//
// Error MMCAF_STUDY: the rule refuses it.
void check_body_part(const std::optional<BodyPartRule> &rule, StudyFacts &facts);

}  // namespace mmcaf
