// The golden self-test: a network answers the bundle's stored cases before it may answer a patient's. A pass is remembered
// where and as the Python engine remembers it, for a kept engine, so that either needs to run the cases only once.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "golden.hpp"
#include "manifest.hpp"
#include "private_folder.hpp"
#include "tensor.hpp"

namespace mmcaf {

// errors: output -> largest |difference| from the stored one, infinite if anything is not finite.
struct SelfTest {
    Named<double> errors;
    double tolerance = 0;
    int64_t cases = 0;
    bool remembered = false;

    double max_abs_error() const;
    bool passed() const;
    std::string fault() const;  // where it has not passed, in words
};

// Largest |difference| of an output from the stored one, in logit units.
double tolerance_of(const std::string &precision);

// Every output of one window, also those that the manifest calls optional.
using InferAll = std::function<std::vector<Tensor>(const std::vector<Tensor> &)>;

// What the network answers to the stored cases; one with a text also in the shortest bucket that holds it.
SelfTest run_cases(const Manifest &manifest, const std::string &precision, const Golden &golden, const InferAll &infer);

// What a remembered pass depends on. engine: SHA-256 of the kept engine.
struct SelfTestFacts {
    std::string bundle_sha256, bundle_name, build, precision, engine;
    int threads;
};

Path stamp_of(const Path &folder, const SelfTestFacts &facts);

// The stamp of the raw case of what such a stamp is of: one of its own, since the Python engine's sessions answer none.
Path raw_case_stamp_of(const Path &stamp);

// The pass that a stamp records; nothing without one, or with one that is damaged or not this user's.
std::optional<SelfTest> remembered(const Path &stamp, double tolerance);

// Throws std::system_error: it cannot be written.
void remember(const Path &stamp, const SelfTest &passed, const SelfTestFacts &facts);

}  // namespace mmcaf
