#include "../peaks.hpp"

#include "calls.hpp"

using namespace mmcaf;

// Both give a negative number where memory ran out.

MMCAF_EXPORT double mmcaf_peak_multiply_add(int32_t type, int64_t rounds, int64_t threads) {
    double operations = 0;
    const auto measure = [&] {
        operations = multiply_add(static_cast<Type>(type), rounds, threads, Threads(threads));
    };
    return ran(measure) == RAN ? operations : -1;
}

MMCAF_EXPORT double mmcaf_peak_read(const float *values, int64_t count, int64_t rounds, int64_t threads) {
    double sum = 0;
    const auto measure = [&] { sum = read_all(values, count, rounds, threads, Threads(threads)); };
    return ran(measure) == RAN ? sum : -1;
}
