// How the taps along the depth meet instructions that multiply four pairs of bytes, or two of bf16: so many planes of a
// map lie together in a pack, and each plane of the sum reads the packs that hold the planes under its taps.

#pragma once

#include "multi_scale_depthwise_task.hpp"

namespace mmcaf {
namespace {

// SIZE planes together, of Z planes of the sum: all of the map (or, with HALO, any of a deeper one).
template <int Z, bool HALO, int SIZE> struct Packs {
    static constexpr int ORIGIN = HALO ? -2 : 0;
    // Two quads overlap where the map has no eight planes; pairs never do.
    static constexpr int COUNT = SIZE == 2 ? (HALO ? Z + 5 : Z + 1) / 2 : HALO || Z > 4 ? 2 : 1;

    // The first plane of a pack, counted from the sum's first.
    static constexpr int first(int pack) {
        if (SIZE == 2 || pack == 0) return ORIGIN + SIZE * pack;
        return HALO ? 2 : Z - 4;
    }
    static constexpr bool in_map(int plane) { return HALO || (plane >= 0 && plane < Z); }
    static constexpr bool holds(int pack, int plane) { return plane >= first(pack) && plane < first(pack) + SIZE; }

    // Whether a pack holds all planes under the taps of plane z, or any.
    static constexpr bool holds_all(int pack, int z, int reach) {
        for (int plane = z - reach; plane <= z + reach; ++plane) {
            if (in_map(plane) && !holds(pack, plane)) return false;
        }
        return true;
    }
    static constexpr bool holds_any(int pack, int z, int reach) {
        for (int plane = z - reach; plane <= z + reach; ++plane) {
            if (in_map(plane) && holds(pack, plane)) return true;
        }
        return false;
    }
    static constexpr bool reads(int pack, int z, int reach) {
        if (pack >= COUNT || !holds_any(pack, z, reach)) return false;
        for (int other = 0; other < COUNT; ++other) {
            if (holds_all(other, z, reach)) return other == pack;
        }
        return true;
    }
    // The tap along the depth, from -reach on, that place `at` of the pack has for plane z; or -1.
    static constexpr int tap(int pack, int at, int z, int reach) {
        const int plane = first(pack) + at, place = plane - z + reach;
        if (place < 0 || place > 2 * reach || !in_map(plane)) return -1;
        for (int other = 0; other < pack; ++other) {
            if (reads(other, z, reach) && holds(other, plane)) return -1;
        }
        return place;
    }
    // The first pack that holds a plane.
    static constexpr int of_plane(int z) {
        int pack = 0;
        while (!holds(pack, z)) ++pack;
        return pack;
    }
    static constexpr int VECTORS() {
        int count = 0;
        for (int z = 0; z < Z; ++z) {
            for (int pack = 0; pack < COUNT; ++pack) count += 25 * reads(pack, z, 2) + 9 * reads(pack, z, 1);
        }
        return count;
    }
};

static constexpr int PACK_BYTES = 64;  // of a position: a vector of 16 channels

}  // namespace
}  // namespace mmcaf
