// Values of i8 maps for VNNI, which multiplies unsigned by signed bytes: 128 is added to each.

#pragma once

#include "lanes_avx512.hpp"

namespace mmcaf {
namespace {

static inline __m128i no_bytes() { return _mm_set1_epi8(static_cast<char>(0x80)); }

// Of the first `channels` of a block; the others are zeros.
static inline __m128i load_bytes(const int8_t *from, int64_t channels) {
    const __mmask16 inside = static_cast<__mmask16>((1u << channels) - 1);
    return _mm_xor_si128(_mm_maskz_loadu_epi8(inside, from), no_bytes());
}

}  // namespace
}  // namespace mmcaf
