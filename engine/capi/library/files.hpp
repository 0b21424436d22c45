// Where a bundle's files lie: in a folder, or in a zip.
#pragma once

#include <memory>
#include <string>

#include "bundle.hpp"

namespace mmcaf {

// Throws Error MMCAF_BUNDLE: nothing is there, or neither a folder nor an intact zip.
std::unique_ptr<Files> open_files(const std::string &path);

}  // namespace mmcaf
