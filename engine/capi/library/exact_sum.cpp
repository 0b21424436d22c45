#include "exact_sum.hpp"

#include <cmath>
#include <utility>

namespace mmcaf {

namespace {

struct Split {
    double sum, error;
};

// a + b in two numbers that together are it exactly (Dekker).
Split split(double a, double b) {
    if (std::fabs(a) < std::fabs(b)) std::swap(a, b);
    const double sum = a + b;
    return {sum, b - (sum - a)};
}

}  // namespace

double exact_sum(const std::vector<double> &values) {
    // Numbers that do not overlap, the smallest first, whose sum is that of all values so far (Shewchuk 1997).
    std::vector<double> parts;
    for (double carried : values) {
        size_t kept = 0;
        for (const double part : parts) {
            const Split both = split(carried, part);
            if (both.error != 0.0) parts[kept++] = both.error;
            carried = both.sum;
        }
        parts.resize(kept);
        parts.push_back(carried);
    }
    double sum = 0.0, error = 0.0;
    while (!parts.empty() && error == 0.0) {
        const Split both = split(sum, parts.back());
        parts.pop_back();
        sum = both.sum;
        error = both.error;
    }
    // The error is half of the last digit where rounding to even was a guess; what is left says to which side it lies.
    if (!parts.empty() && (error < 0.0) == (parts.back() < 0.0)) {
        const double twice = error * 2.0, moved = sum + twice;
        if (moved - sum == twice) sum = moved;
    }
    return sum;
}

double exact_mean(const std::vector<double> &values) {
    return exact_sum(values) / static_cast<double>(values.size());
}

}  // namespace mmcaf
