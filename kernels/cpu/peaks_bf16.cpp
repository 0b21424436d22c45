#include "lanes_avx512.hpp"
#include "peaks.hpp"

namespace mmcaf {

float peak_bf16_bf16(int64_t rounds) {
    __m512 sums[PEAK_OPERATIONS];
    __m512i ones = _mm512_set1_epi32(0x3f803f80);
#pragma GCC unroll 12
    for (int i = 0; i < PEAK_OPERATIONS; ++i) sums[i] = Lanes::all(static_cast<float>(i));
    for (int64_t round = 0; round < rounds; ++round) {
        asm volatile("" : "+v"(ones));  // so that no round is left out
        const __m512bh pairs = reinterpret_cast<__m512bh>(ones);
#pragma GCC unroll 12
        for (int i = 0; i < PEAK_OPERATIONS; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], pairs, pairs);
    }
    float total = 0;
#pragma GCC unroll 12
    for (int i = 0; i < PEAK_OPERATIONS; ++i) total += _mm512_cvtss_f32(sums[i]);
    return total;
}

}  // namespace mmcaf
