// How the taps along the depth meet instructions that multiply four pairs of bytes: four planes of a map lie together in
// a quad, and each plane of the sum reads the one or two quads that hold the planes under its taps.

#pragma once

#include "multi_scale_depthwise_task.hpp"

namespace mmcaf {
namespace {

// Of Z planes of the sum, the first of the map (or, with HALO, any of a deeper map).
template <int Z, bool HALO> struct Quads {
    static constexpr int COUNT = HALO || Z > 4 ? 2 : 1;
    static constexpr int FIRST[2] = {HALO ? -2 : 0, HALO ? 2 : Z - 4};  // plane, from the sum's first

    static constexpr bool in_map(int plane) { return HALO || (plane >= 0 && plane < Z); }
    static constexpr bool holds(int quad, int plane) { return plane >= FIRST[quad] && plane < FIRST[quad] + 4; }

    // Whether one quad holds all planes under the taps of plane z.
    static constexpr bool alone(int quad, int z, int reach) {
        for (int plane = z - reach; plane <= z + reach; ++plane) {
            if (in_map(plane) && !holds(quad, plane)) return false;
        }
        return true;
    }
    static constexpr bool reads(int quad, int z, int reach) {
        if (quad >= COUNT) return false;
        if (alone(0, z, reach)) return quad == 0;
        return quad == 1 || !alone(1, z, reach);
    }
    // The tap along the depth, from -reach on, that byte `byte` of the quad has for plane z; or -1.
    static constexpr int tap(int quad, int byte, int z, int reach) {
        const int plane = FIRST[quad] + byte, place = plane - z + reach;
        if (place < 0 || place > 2 * reach || !in_map(plane)) return -1;
        return quad == 1 && reads(0, z, reach) && holds(0, plane) ? -1 : place;
    }
    static constexpr int VECTORS() {
        int count = 0;
        for (int z = 0; z < Z; ++z) {
            for (int quad = 0; quad < COUNT; ++quad) count += 25 * reads(quad, z, 2) + 9 * reads(quad, z, 1);
        }
        return count;
    }
};

}  // namespace
}  // namespace mmcaf
