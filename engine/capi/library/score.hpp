// A study's score, and the arithmetic that output decisions make it with.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mmcaf {

// A network's scores of every window.
struct Scores {
    std::vector<float> values;  // [windows, members, scores]; one member where it is no ensemble
    size_t windows = 0, members = 1, scores = 0;
    bool ensemble = false;

    double at(size_t window, size_t score, size_t member = 0) const {
        return values[(window * members + member) * scores + score];
    }
};

struct WindowScore {
    double logit, probability;
};

// Label 1 of two, whichever of them is the answer.
struct Positive {
    std::string label;
    double probability, logit, threshold;
};

// One of several labels that are independent of each other.
struct Finding {
    std::string label;
    double probability, logit, threshold;
    bool present;
};

struct StudyScore {
    size_t label = 0;  // among the manifest's; of independent ones the most probable of those present, else of all
    std::string verdict;
    std::optional<double> probability;               // of the verdict, where that is one label
    std::vector<double> probabilities, logits;       // of every label; of two told apart by a threshold, one logit
    std::vector<WindowScore> windows;                // of `label`
    size_t deciding = 0;                             // the window that the answer rests on most
    std::optional<Positive> positive;                // where a threshold tells two labels apart
    std::vector<Finding> findings;                   // of independent labels, each
    std::vector<std::vector<double>> members;        // of an ensemble, [members][labels]
};

// 1 / (1 + exp(-logit)), without overflow.
double sigmoid(double logit);

// exp(logit) / sum of them, without overflow.
std::vector<double> softmax(const std::vector<double> &logits);

// The logit whose sigmoid is a probability; finite at 0 and 1.
double logit_of(double probability);

// The logarithm of a probability; finite at 0.
double log_of(double probability);

// The first of the largest.
size_t position_of_max(const std::vector<double> &values);

// Throws Error(MMCAF_BACKEND): a score is no finite number. `starts`: the first slice of each window.
void refuse_not_finite(const std::vector<int64_t> &starts, const Scores &scores);

}  // namespace mmcaf
