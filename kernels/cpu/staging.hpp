// Between maps and the blocks of 16 channels that the kernels compute: a block of a map lies apart in it, a position's
// channels far from the next one's, and would meet in a few sets of the caches. Only for files that have `Lanes`.

#pragma once

#include <cstring>

#include "extent.hpp"
#include "values.hpp"

namespace mmcaf {
namespace {

static constexpr int PARTS = BLOCK / Lanes::WIDTH;

// Planes, rows and columns of a map, of which those outside it are zeros.
struct Box {
    int64_t plane, planes, row, rows, column, columns;
};

template <class T> inline void stage_run(const T *from, int64_t apart, float *to, int64_t count) {
    for (int64_t i = 0; i < count; ++i, from += apart, to += BLOCK) {
        for (int part = 0; part < PARTS; ++part) {
            Lanes::store(to + part * Lanes::WIDTH, Lanes::load(from + part * Lanes::WIDTH));
        }
    }
}

inline void stage_line(const void *x, Type type, int64_t from, int64_t apart, int64_t channels, float *to,
                       int64_t count) {
    if (channels < BLOCK) {
        for (int64_t i = 0; i < count; ++i, from += apart, to += BLOCK) {
            for (int64_t k = 0; k < BLOCK; ++k) to[k] = k < channels ? read_value(x, type, from + k) : 0.0f;
        }
    } else if (type == Type::f32) {
        stage_run(static_cast<const float *>(x) + from, apart, to, count);
    } else if (type == Type::bf16) {
        stage_run(static_cast<const uint16_t *>(x) + from, apart, to, count);
    } else {
        stage_run(static_cast<const int8_t *>(x) + from, apart, to, count);
    }
}

// The block of channels from `channel` on, as float32 [planes, rows, columns, 16].
inline void stage(const void *x, Type type, const Extent &map, int64_t n, int64_t channel, const Box &box, float *to) {
    const int64_t channels = map.channels - channel < BLOCK ? map.channels - channel : BLOCK;
    const int64_t before = box.column < 0 ? -box.column : 0;
    const int64_t end = box.column + box.columns < map.width ? box.column + box.columns : map.width;
    const int64_t inside = end - (box.column + before);
    const size_t value = sizeof(float) * BLOCK;
    for (int64_t z = box.plane; z < box.plane + box.planes; ++z) {
        for (int64_t y = box.row; y < box.row + box.rows; ++y, to += box.columns * BLOCK) {
            if (z < 0 || z >= map.depth || y < 0 || y >= map.height) {
                std::memset(to, 0, box.columns * value);
                continue;
            }
            std::memset(to, 0, before * value);
            const int64_t from = place_of(map, n, z, y, box.column + before, channel);
            stage_line(x, type, from, map.channels, channels, to + before * BLOCK, inside);
            std::memset(to + (before + inside) * BLOCK, 0, (box.columns - before - inside) * value);
        }
    }
}

// A block's values of one position to the map.
struct Writer {
    void *y;
    Stored stored;
    int64_t channels;  // of the block, at most 16
    float inverse;     // of the step

    Writer(void *map, const Stored &as, int64_t count)
        : y(map), stored(as), channels(count < BLOCK ? count : BLOCK), inverse(1.0f / as.step) {}

    void operator()(int64_t at, const Lanes::Floats *values) const {
        if (channels < BLOCK) {
            float buffer[BLOCK];
            for (int part = 0; part < PARTS; ++part) Lanes::store(buffer + part * Lanes::WIDTH, values[part]);
            for (int64_t k = 0; k < channels; ++k) write_value(y, stored, at + k, buffer[k]);
            return;
        }
        for (int part = 0; part < PARTS; ++part, at += Lanes::WIDTH) {
            if (stored.type == Type::f32) {
                Lanes::store(static_cast<float *>(y) + at, values[part]);
            } else if (stored.type == Type::bf16) {
                Lanes::store(static_cast<uint16_t *>(y) + at, values[part]);
            } else {
                Lanes::store(static_cast<int8_t *>(y) + at, Lanes::multiply(values[part], Lanes::all(inverse)));
            }
        }
    }
};

}  // namespace
}  // namespace mmcaf
