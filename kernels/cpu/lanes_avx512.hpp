// Vectors of AVX-512, for the kernels that are written once for all widths. Only for files with its instructions.

#pragma once

// GCC 12 takes the undefined operands of its own intrinsics for uninitialised variables (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <cstdint>

namespace mmcaf {
namespace {

struct Lanes {
    using Floats = __m512;
    static constexpr int WIDTH = 16;
    static constexpr int REGISTERS = 32;

    static Floats zero() { return _mm512_setzero_ps(); }
    static Floats all(float value) { return _mm512_set1_ps(value); }
    static Floats load(const float *from) { return _mm512_loadu_ps(from); }
    static void store(float *to, Floats value) { _mm512_storeu_ps(to, value); }
    static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
    static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
    // No less than `low` and no more than `high`; NaN stays NaN.
    static Floats clamp(Floats value, Floats low, Floats high) {
        return _mm512_min_ps(high, _mm512_max_ps(low, value));
    }
    // The larger; NaN where either is.
    static Floats larger(Floats a, Floats b) {
        return _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
    }

    static Floats load(const uint16_t *from) {
        const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
        return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
    }
    static Floats load(const int8_t *from) {
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from))));
    }
    static void store(uint16_t *to, Floats value) {
        const __m512i bits = _mm512_castps_si512(value);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
        const __m512i kept = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q), quiet);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16)));
    }
    static void store(int8_t *to, Floats steps) {
        const __m512i whole = _mm512_cvtps_epi32(clamp(steps, all(-128), all(127)));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(to), _mm512_cvtsepi32_epi8(whole));
    }

    // Of the 16 values from `from`, number `j` of each lane's group of GROUP channels.
    template <int GROUP> static Floats of_group(const float *from, int, int j) {
        if constexpr (GROUP == 16) {
            return all(from[j]);
        } else {
            const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            const __m512i first = _mm512_and_si512(lane, _mm512_set1_epi32(~(GROUP - 1)));
            return _mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(j)), load(from));
        }
    }
};

}  // namespace
}  // namespace mmcaf
