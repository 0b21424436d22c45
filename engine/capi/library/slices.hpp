// The slices that somebody names: by their numbers from 1 at the feet, or by the images that they are.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "json.hpp"

namespace mmcaf {

// From 1, the last one included.
struct SliceSpan {
    int64_t first = 0, last = 0;

    bool operator==(const SliceSpan &other) const { return first == other.first && last == other.last; }
    std::string text() const { return std::to_string(first) + "-" + std::to_string(last); }
};

// A span, or, where there are any, SOPInstanceUIDs in any order.
struct NamedSlices {
    SliceSpan span;
    std::vector<std::string> uids;
};

// Why the value of one field cannot be used.
struct UnusableValue {
    std::string reason;
};

// Slices as a record names them: "40-52", two whole numbers, or SOPInstanceUIDs in a list or parted by blanks, commas or ;.
// Throws UnusableValue.
NamedSlices read_named(const Json &given);

// Throws UnusableValue: none of slices, or the second is below the first.
void check_span(const SliceSpan &span);

}  // namespace mmcaf
