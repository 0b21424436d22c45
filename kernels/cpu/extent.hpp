// How large a map is and how its values are stored: channels last, without gaps, [N, D, H, W, C].

#pragma once

#include <cstdint>

#include "maps.hpp"

namespace mmcaf {

// A value in i8 is a whole number of steps; other types do not use the step.
struct Stored {
    Type type = Type::f32;
    float step = 1;
};

struct Extent {
    int64_t cases, depth, height, width, channels;
};

static constexpr int64_t BLOCK = 16;  // channels that a kernel computes together

static constexpr int64_t values_of(const Extent &map) {
    return map.cases * map.depth * map.height * map.width * map.channels;
}
static constexpr int64_t blocks_of(int64_t channels) { return (channels + BLOCK - 1) / BLOCK; }

// The place of [n, z, y, x, channel].
static constexpr int64_t place_of(const Extent &map, int64_t n, int64_t z, int64_t y, int64_t x, int64_t channel) {
    return (((n * map.depth + z) * map.height + y) * map.width + x) * map.channels + channel;
}

}  // namespace mmcaf
