#include "peaks.hpp"

#include <vector>

#include "features.hpp"

namespace mmcaf {
namespace {

struct Peak {
    float (*run)(int64_t rounds) = nullptr;
    int operations = 0;  // of one vector
};

Peak peak_of(Type type) {
    const Features &here = features();
    (void)here;
#if defined(MMCAF_WITH_VNNI)
    if (type == Type::i8) return here.vnni ? Peak{peak_i8_vnni, 128} : Peak{};
#endif
#if defined(MMCAF_WITH_BF16)
    if (type == Type::bf16) return here.bf16 ? Peak{peak_bf16_bf16, 64} : Peak{};
#endif
#if defined(MMCAF_WITH_AVX512)
    if (type == Type::f32 && here.avx512) return {peak_f32_avx512, 32};
#endif
#if defined(MMCAF_WITH_AVX2)
    if (type == Type::f32 && here.avx2) return {peak_f32_avx2, 16};
#endif
    return {};
}

float plain_sum(const float *values, int64_t count) {
    float total = 0;
    for (int64_t i = 0; i < count; ++i) total += values[i];
    return total;
}

float sum_of(const float *values, int64_t count) {
#if defined(MMCAF_WITH_AVX512)
    if (features().avx512) return sum_avx512(values, count);
#endif
#if defined(MMCAF_WITH_AVX2)
    if (features().avx2) return sum_avx2(values, count);
#endif
    return plain_sum(values, count);
}

volatile double told;  // so that no result may be left out

}  // namespace

double multiply_add(Type type, int64_t rounds, int64_t tasks, const Parallel &parallel) {
    const Peak peak = peak_of(type);
    if (!peak.run) return 0;
    std::vector<double> results(tasks);
    parallel(static_cast<int>(tasks), [&](int index) { results[index] = peak.run(rounds); });
    for (const double result : results) told = result;
    return static_cast<double>(peak.operations) * PEAK_OPERATIONS * static_cast<double>(rounds * tasks);
}

double read_all(const float *values, int64_t count, int64_t rounds, int64_t tasks, const Parallel &parallel) {
    std::vector<double> results(tasks);
    parallel(static_cast<int>(tasks), [&](int index) {
        const int64_t first = count * index / tasks, end = count * (index + 1) / tasks;
        for (int64_t round = 0; round < rounds; ++round) results[index] = sum_of(values + first, end - first);
    });
    double total = 0;
    for (const double result : results) total += result;
    return total;
}

}  // namespace mmcaf
