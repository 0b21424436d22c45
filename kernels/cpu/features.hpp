// Which instructions the kernels may use: what this processor and its system have, what this build holds kernels for,
// and what MMCAF_CPU_FEATURES allows.

#pragma once

namespace mmcaf {

// Each level has all instructions of the ones before it. `vnni` and `bf16` are the AVX-512 forms.
enum class Level { reference, avx2, avx512, vnni, bf16 };

struct Features {
    bool avx2 = false;    // with FMA
    bool avx512 = false;  // F, BW, CD, DQ and VL
    bool vnni = false;
    bool bf16 = false;
    bool neon = false;
};

// Found at the first call. MMCAF_CPU_FEATURES=reference|avx2|avx512|vnni|bf16 takes away every later level, and NEON with
// the first; any other value takes away all.
const Features &features();

// From now on at most these, in the words of MMCAF_CPU_FEATURES, for tests and benchmarks; null is as at the first call.
// Not while a kernel runs.
void allow(const char *level);

// The highest level of `features`, in the words of MMCAF_CPU_FEATURES, or "neon".
const char *level_name();

}  // namespace mmcaf
