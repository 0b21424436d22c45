// What the user has set in the environment, in the variables that the command line reads as well. config.toml, which it
// reads too, is not read here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "error.hpp"

namespace mmcaf {

// Where derived files lie unless the host names a folder: $MMCAF_CACHE, else mmcaf-infer in the user's cache folder;
// nothing where this user has no home folder.
// Throws Error(MMCAF_USAGE): the variable begins with a home folder that is not known, or is no path that can be followed.
std::optional<std::filesystem::path> default_cache();

// Bytes that kept engines may take together: $MMCAF_CACHE_LIMIT in MiB, else 8 GiB. With 0, none is kept or loaded.
// Throws Error(MMCAF_USAGE): the variable is no whole number.
uint64_t cache_limit();

// Whether $MMCAF_KERNELS lets this project's kernels take the place of OpenVINO's own operators.
// Throws Error(MMCAF_USAGE): it says neither yes nor no.
bool kernels_allowed();

// Whether $MMCAF_REQUIRE_SIGNATURE has only bundles opened that a trusted key has signed. Throws as kernels_allowed.
bool signature_required();

extern const Remedy OTHER_CACHE;

}  // namespace mmcaf
