// When an answer is made.

#pragma once

#include <optional>
#include <string>

namespace mmcaf {

// The moment as results write it, in UTC: 2026-11-30T09:08:48Z; without one, now in whole seconds.
//
// given: a date and a time of day with its time zone in ISO 8601, basic or extended, down to microseconds.
// Throws Error(MMCAF_USAGE): it is none, has no time zone, or is of a year that is none of this or the next thousands.
std::string creation_time(const std::optional<std::string> &given);

}  // namespace mmcaf
