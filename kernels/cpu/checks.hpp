// What every kernel demands of its maps and weights.

#pragma once

#include "extent.hpp"

namespace mmcaf {

// Why a map cannot be read or written as asked, or null.
const char *unsupported_map(const Extent &map, Stored in, Stored out);

// Whether all are whole numbers from -127 to 127, as stored in i8.
bool whole_numbers(const float *values, int64_t count);

// Whether all are values of bf16.
bool values_of_bf16(const float *values, int64_t count);

}  // namespace mmcaf
