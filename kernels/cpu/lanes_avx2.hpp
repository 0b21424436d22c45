// Vectors of AVX2, for the kernels that are written once for all widths. Only for files with its instructions.

#pragma once

#include <immintrin.h>

#include <cstdint>

namespace mmcaf {
namespace {

struct Lanes {
    using Floats = __m256;
    static constexpr int WIDTH = 8;
    static constexpr int REGISTERS = 16;

    static Floats zero() { return _mm256_setzero_ps(); }
    static Floats all(float value) { return _mm256_set1_ps(value); }
    static Floats load(const float *from) { return _mm256_loadu_ps(from); }
    static void store(float *to, Floats value) { _mm256_storeu_ps(to, value); }
    static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
    static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
    // No less than `low` and no more than `high`; NaN stays NaN.
    static Floats clamp(Floats value, Floats low, Floats high) {
        return _mm256_min_ps(high, _mm256_max_ps(low, value));
    }
    // The larger; NaN where either is.
    static Floats larger(Floats a, Floats b) {
        return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    }

    static Floats load(const uint16_t *from) {
        const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)));
        return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
    }
    static Floats load(const int8_t *from) {
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(from))));
    }
    static void store(uint16_t *to, Floats value) {
        const __m256i bits = _mm256_castps_si256(value);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
        const __m256i missing = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
        const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, missing), 16);
        const __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(to), halves);
    }
    static void store(int8_t *to, Floats steps) {
        const __m256i whole = _mm256_cvtps_epi32(clamp(steps, all(-128), all(127)));
        const __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i *>(to), _mm_packs_epi16(halves, halves));
    }

    // Of the 16 values from `from`, number `j` of the group of GROUP channels of each lane of half `part`.
    template <int GROUP> static Floats of_group(const float *from, int part, int j) {
        if constexpr (GROUP == 4) {
            return _mm256_permutevar_ps(load(from + part * WIDTH), _mm256_set1_epi32(j));
        } else {
            return _mm256_broadcast_ss(from + (GROUP == 8 ? part * WIDTH : 0) + j);
        }
    }
};

}  // namespace
}  // namespace mmcaf
