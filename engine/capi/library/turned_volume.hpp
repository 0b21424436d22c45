// The slices of a volume that a caller gives, one after the other toward head, back and left.

#pragma once

#include <memory>

#include "orientation.hpp"

namespace mmcaf {

// A slice, and the memory that it lies in where it is not the caller's.
struct TurnedSlice {
    Slice slice{};
    std::vector<int16_t> whole;
    std::vector<float> real;
};

// `receive` is called once for each slice, with its index toward the head, on this thread. Of a volume whose slices come
// one by one, it is called as they come, unless they do not lie across the patient.
void each_turned_slice(const Volume &volume, const Turn &turn,
                       const std::function<void(size_t index, std::shared_ptr<const TurnedSlice> slice)> &receive);

}  // namespace mmcaf
