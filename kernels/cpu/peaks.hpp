// What this processor does at best: multiply-adds in registers and reads of memory, of which benchmarks tell a share.

#pragma once

#include "maps.hpp"
#include "parallel.hpp"

namespace mmcaf {

// Multiply-adds of vectors of a type on so many tasks, each `rounds` times PEAK_OPERATIONS vectors; how many operations
// that were, a multiply-add counted twice, or 0 where the processor has none of this type.
double multiply_add(Type type, int64_t rounds, int64_t tasks, const Parallel &parallel);

// The sum of `count` floats read `rounds` times.
double read_all(const float *values, int64_t count, int64_t rounds, int64_t tasks, const Parallel &parallel);

static constexpr int PEAK_OPERATIONS = 12;  // independent ones: more than wait for each other in any processor

float peak_f32_avx2(int64_t rounds);
float peak_f32_avx512(int64_t rounds);
float peak_i8_vnni(int64_t rounds);
float peak_bf16_bf16(int64_t rounds);
float sum_avx2(const float *values, int64_t count);
float sum_avx512(const float *values, int64_t count);

}  // namespace mmcaf
