// One slice or image, and whole volumes, as they pass through the steps of a manifest.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mmcaf {

using Shape = std::array<size_t, 3>;  // slices, rows, columns

// float32 [rows, columns].
struct Plane {
    size_t rows = 0, columns = 0;
    std::vector<float> values;

    void reshape(size_t new_rows, size_t new_columns) {
        rows = new_rows;
        columns = new_columns;
        values.resize(rows * columns);
    }
};

// A slice [rows, columns] in somebody else's memory: one of both is null.
struct Slice {
    size_t rows, columns;
    const int16_t *whole;
    const float *real;
};

}  // namespace mmcaf
