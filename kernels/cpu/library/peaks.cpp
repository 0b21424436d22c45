#include "../peaks.hpp"

#include "export.hpp"
#include "threads.hpp"

using namespace mmcaf;

MMCAF_EXPORT double mmcaf_peak_multiply_add(int32_t type, int64_t rounds, int64_t threads) {
    return multiply_add(static_cast<Type>(type), rounds, threads, Threads(threads));
}

MMCAF_EXPORT double mmcaf_peak_read(const float *values, int64_t count, int64_t rounds, int64_t threads) {
    return read_all(values, count, rounds, threads, Threads(threads));
}
