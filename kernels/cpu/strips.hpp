// How a kernel cuts a map into tasks: by its shape alone.

#pragma once

#include <algorithm>
#include <array>

#include "extent.hpp"

namespace mmcaf {

static constexpr int64_t STRIP_BYTES = 256 * 1024;  // of intermediate values: what a core's second cache holds with room

// Rows of a map in strips of almost equal height, each of which needs about `row` bytes a row.
struct Strips {
    int64_t all, count;

    Strips(int64_t rows, int64_t row) : all(rows) {
        const int64_t most = std::clamp<int64_t>(STRIP_BYTES / std::max<int64_t>(row, 1), 1, rows);
        count = (rows + most - 1) / most;
    }
    int64_t first(int64_t strip) const { return all * strip / count; }
    int64_t rows(int64_t strip) const { return first(strip + 1) - first(strip); }
};

// Tasks by several numbers, the last one fastest.
struct Grid {
    std::array<int64_t, 4> lengths;

    explicit Grid(const std::array<int64_t, 4> &of) : lengths(of) {}
    int tasks() const { return static_cast<int>(lengths[0] * lengths[1] * lengths[2] * lengths[3]); }
    std::array<int64_t, 4> place(int64_t index) const {
        std::array<int64_t, 4> at{};
        for (int i = 3; i >= 0; --i) {
            at[i] = index % lengths[i];
            index /= lengths[i];
        }
        return at;
    }
};

}  // namespace mmcaf
