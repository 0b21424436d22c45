// The arrays of golden.npz, which may be of unknown origin: nothing is unpacked before its size is known.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mmcaf {

// kind: b, i, u or f, as NumPy has it; width: bytes of a value. The values lie row by row, little-endian.
struct NpyArray {
    char kind;
    size_t width;
    std::vector<int64_t> shape;
    std::vector<uint8_t> bytes;

    size_t count() const;
    std::string dtype() const;  // such as float32
    // The values in another type. Throws std::invalid_argument: float16, which no bundle holds.
    std::vector<float> floats() const;
    std::vector<double> doubles() const;
    std::vector<int64_t> integers() const;
};

// One .npy file. Throws std::invalid_argument: it is none, holds no numbers, or is cut short.
NpyArray read_npy(const std::string &name, const std::vector<uint8_t> &file);

}  // namespace mmcaf
