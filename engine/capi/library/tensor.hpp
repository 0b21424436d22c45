// A tensor of a network, in memory of its own.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mmcaf {

struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
    bool whole = false;             // int64, else float32
    std::vector<float> reals;       // of float32
    std::vector<int64_t> integers;  // of int64
};

}  // namespace mmcaf
