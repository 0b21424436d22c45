#include "checks.hpp"

#include <cmath>
#include <cstring>
#include <initializer_list>

namespace mmcaf {

const char *unsupported_map(const Extent &map, Stored in, Stored out) {
    for (const int64_t length : {map.cases, map.depth, map.height, map.width, map.channels}) {
        if (length < 1) return "a map has no values";
        if (length > INT32_MAX) return "a map is too large";
    }
    const double values = static_cast<double>(map.cases) * map.depth * map.height * map.width * map.channels;
    if (values > static_cast<double>(INT64_MAX) / 64) return "a map is too large";
    for (const Stored &stored : {in, out}) {
        if (stored.type != Type::f32 && stored.type != Type::bf16 && stored.type != Type::i8) {
            return "a map's type is not f32, bf16 or i8";
        }
        if (stored.type == Type::i8 && !(stored.step > 0 && std::isfinite(stored.step))) {
            return "the step of an i8 map is not a positive number";
        }
    }
    return nullptr;
}

bool whole_numbers(const float *values, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        if (!(std::fabs(values[i]) <= 127) || values[i] != std::nearbyint(values[i])) return false;
    }
    return true;
}

bool values_of_bf16(const float *values, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        uint32_t bits;
        std::memcpy(&bits, values + i, sizeof bits);
        if (bits & 0xffff) return false;
    }
    return true;
}

}  // namespace mmcaf
