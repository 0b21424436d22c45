// The widest vectors of floats that a file's instructions have, with the maps' types. A file sees its own copy of these, since
// other files' are made of other instructions.
//
// `some` are the first values of a vector, of which no more are read or written; the others are zero.

#pragma once

#if defined(__AVX2__)

#include <immintrin.h>

#include "maps.hpp"

namespace mmcaf {
namespace {

#if defined(__AVX512F__)

struct Vector {
    static constexpr int WIDTH = 16;
    __m512 v;

    static Vector all(float value) { return {_mm512_set1_ps(value)}; }
    static __mmask16 first(int some) { return static_cast<__mmask16>((1u << some) - 1); }

    static Vector load(const float *from) { return {_mm512_loadu_ps(from)}; }
    static Vector load(const float *from, int some) { return {_mm512_maskz_loadu_ps(first(some), from)}; }
    static Vector load(const uint16_t *from) {
        return widened(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)));
    }
    static Vector load(const uint16_t *from, int some) { return widened(_mm256_maskz_loadu_epi16(first(some), from)); }
    static Vector widened(__m256i bf16) {
        return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16), 16))};
    }

    void store(float *to) const { _mm512_storeu_ps(to, v); }
    void store(float *to, int some) const { _mm512_mask_storeu_ps(to, first(some), v); }
    void store(uint16_t *to) const { _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), narrowed()); }
    void store(uint16_t *to, int some) const { _mm256_mask_storeu_epi16(to, first(some), narrowed()); }
    // To the nearest integers, which are within the limits of int8 or uint8.
    void store_whole(uint8_t *to) const { _mm_storeu_si128(reinterpret_cast<__m128i *>(to), whole()); }
    void store_whole(uint8_t *to, int some) const { _mm_mask_storeu_epi8(to, first(some), whole()); }
    __m128i whole() const { return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)); }

    __m256i narrowed() const {
#if defined(__AVX512BF16__)
        return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
#else
        const __m512i bits = _mm512_castps_si512(v), one = _mm512_set1_epi32(1);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
        const __m512i near = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
        const __m512i nan = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
        const __m512i kept = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), near, nan);
        return _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16));
#endif
    }
};

inline Vector operator+(Vector a, Vector b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vector operator-(Vector a, Vector b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vector operator*(Vector a, Vector b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vector multiply_add(Vector a, Vector b, Vector c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// Of which the second is taken where either is not a number.
inline Vector largest(Vector a, Vector b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vector least(Vector a, Vector b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Vector rounded_to_whole(Vector a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }

#else

struct Vector {
    static constexpr int WIDTH = 8;
    __m256 v;

    static Vector all(float value) { return {_mm256_set1_ps(value)}; }
    static __m256i first(int some) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(some), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }

    static Vector load(const float *from) { return {_mm256_loadu_ps(from)}; }
    static Vector load(const float *from, int some) { return {_mm256_maskload_ps(from, first(some))}; }
    static Vector load(const uint16_t *from) {
        const __m128i bf16 = _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
        return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bf16), 16))};
    }
    static Vector load(const uint16_t *from, int some) {
        uint16_t values[WIDTH] = {};
        for (int at = 0; at < some; ++at) values[at] = from[at];
        return load(values);
    }

    void store(float *to) const { _mm256_storeu_ps(to, v); }
    void store(float *to, int some) const { _mm256_maskstore_ps(to, first(some), v); }
    void store(uint16_t *to) const { _mm_storeu_si128(reinterpret_cast<__m128i *>(to), narrowed()); }
    void store(uint16_t *to, int some) const {
        uint16_t values[WIDTH];
        store(values);
        for (int at = 0; at < some; ++at) to[at] = values[at];
    }
    // To the nearest integers, which are within the limits of int8 or uint8.
    void store_whole(uint8_t *to) const { _mm_storel_epi64(reinterpret_cast<__m128i *>(to), whole()); }
    void store_whole(uint8_t *to, int some) const {
        uint8_t values[WIDTH];
        store_whole(values);
        for (int at = 0; at < some; ++at) to[at] = values[at];
    }
    __m128i whole() const {
        const __m256i last = _mm256_and_si256(_mm256_cvtps_epi32(v), _mm256_set1_epi32(0xff));
        const __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(last), _mm256_extracti128_si256(last, 1));
        return _mm_packus_epi16(shorts, shorts);
    }

    __m128i narrowed() const {
        const __m256i bits = _mm256_castps_si256(v), one = _mm256_set1_epi32(1);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
        const __m256i near = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
        const __m256i nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
        const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
        const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(near, nan, is_nan), 16);
        return _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
    }
};

inline Vector operator+(Vector a, Vector b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vector operator-(Vector a, Vector b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vector operator*(Vector a, Vector b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vector multiply_add(Vector a, Vector b, Vector c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
// Of which the second is taken where either is not a number.
inline Vector largest(Vector a, Vector b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vector least(Vector a, Vector b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Vector rounded_to_whole(Vector a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }

#endif

}  // namespace
}  // namespace mmcaf

#endif
