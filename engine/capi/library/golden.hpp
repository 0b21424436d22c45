// golden.npz: stored cases of network inputs and outputs, and one raw case, which is a study and record as they come.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "manifest.hpp"
#include "npz.hpp"
#include "tensor.hpp"
#include "zip.hpp"

namespace mmcaf {

extern const char *const GOLDEN_NAME;

class Golden {
   public:
    // Throws Error(MMCAF_BUNDLE): it is damaged; so all functions here.
    Golden(std::vector<uint8_t> file, std::string shown);

    bool has(const std::string &name) const;
    NpyArray array(const std::string &name) const;

    // Every input and output of one stored case, as a window of one; outputs are the precision's own answers where those
    // are stored.
    struct Case {
        std::vector<Tensor> inputs, outputs;
    };
    std::vector<Case> cases(const Manifest &manifest, const std::string &precision) const;

    [[noreturn]] void refuse(const std::string &why) const;

   private:
    std::vector<uint8_t> file_;
    std::string shown_;
    std::unique_ptr<Zip> zip_;
};

// Whether an array has this shape: any N from 1, and L from 1 to the longest text.
bool fits(const TensorSpec &spec, const std::vector<int64_t> &shape, int64_t longest);

// A shape in words, such as N, 1, 12.
std::string in_words(const std::vector<int64_t> &shape);

}  // namespace mmcaf
