// Multiply-adds and reads, for files that have `Lanes`.

#pragma once

#include "peaks.hpp"

namespace mmcaf {
namespace {

inline float add_up(Lanes::Floats sum) {
    float values[Lanes::WIDTH], total = 0;
    Lanes::store(values, sum);
    for (const float value : values) total += value;
    return total;
}

inline float peak_f32(int64_t rounds) {
    Lanes::Floats sums[PEAK_OPERATIONS], half = Lanes::all(0.5f), one = Lanes::all(1.0f);
#pragma GCC unroll 12
    for (int i = 0; i < PEAK_OPERATIONS; ++i) sums[i] = Lanes::all(static_cast<float>(i));
    for (int64_t round = 0; round < rounds; ++round) {
        asm volatile("" : "+x"(half), "+x"(one));  // so that no round is left out
#pragma GCC unroll 12
        for (int i = 0; i < PEAK_OPERATIONS; ++i) sums[i] = Lanes::fma(sums[i], half, one);
    }
    Lanes::Floats total = Lanes::zero();
#pragma GCC unroll 12
    for (int i = 0; i < PEAK_OPERATIONS; ++i) total = Lanes::add(total, sums[i]);
    return add_up(total);
}

inline float sum(const float *values, int64_t count) {
    Lanes::Floats sums[8];
    for (int i = 0; i < 8; ++i) sums[i] = Lanes::zero();
    int64_t at = 0;
    for (; at + 8 * Lanes::WIDTH <= count; at += 8 * Lanes::WIDTH) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; ++i) sums[i] = Lanes::add(sums[i], Lanes::load(values + at + i * Lanes::WIDTH));
    }
    float total = 0;
    for (; at < count; ++at) total += values[at];
    for (int i = 0; i < 8; ++i) total += add_up(sums[i]);
    return total;
}

}  // namespace
}  // namespace mmcaf
