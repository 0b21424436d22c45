// accuracy.json: what each precision costs, and in which configurations it was judged and so may answer.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "manifest.hpp"

namespace mmcaf {

// How a precision is computed, as far as answers depend on it beside the file. backend: none for whatever computes each
// value in the type that the file gives it. between: in what the maps between convolutions are kept.
struct Configuration {
    std::optional<std::string> backend, hint;
    std::string between;
    std::set<std::string> kernels;

    std::string in_words() const;
};

// What a precision costs, of several configurations the most.
struct PrecisionCost {
    std::string cohort;
    int64_t studies = 0;
    double max_probability_difference = 0;
    int64_t flips = 0;
    std::optional<double> auroc_difference;
    std::optional<std::vector<Configuration>> judged;  // none: of a bundle from before they were recorded
};

// By precision. Throws Error(MMCAF_BUNDLE): not JSON, of a newer format, or no accuracy report.
Named<PrecisionCost> parse_accuracy(std::string_view data, const std::string &name);

// What OpenVINO is told to compute FP32 values of a network in, and in what its maps are kept.
std::string hint_of(const std::string &precision);
std::string between_of(const std::string &precision);

// Why OpenVINO may not answer in a precision with these kernels, in words; nothing where it may. Without kernels, as far
// as can be told before the network is open.
std::optional<std::string> unjudged(const std::string &bundle, const std::string &precision, const PrecisionCost *cost,
                                    const std::optional<std::set<std::string>> &kernels);

}  // namespace mmcaf
