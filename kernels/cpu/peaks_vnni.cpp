#include "lanes_avx512.hpp"
#include "peaks.hpp"

namespace mmcaf {

float peak_i8_vnni(int64_t rounds) {
    __m512i sums[PEAK_OPERATIONS], ones = _mm512_set1_epi32(0x01010101);
#pragma GCC unroll 12
    for (int i = 0; i < PEAK_OPERATIONS; ++i) sums[i] = _mm512_set1_epi32(i);
    for (int64_t round = 0; round < rounds; ++round) {
        asm volatile("" : "+v"(ones));  // so that no round is left out
#pragma GCC unroll 12
        for (int i = 0; i < PEAK_OPERATIONS; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], ones, ones);
    }
    int total = 0;
#pragma GCC unroll 12
    for (int i = 0; i < PEAK_OPERATIONS; ++i) total += _mm512_cvtsi512_si32(sums[i]);
    return static_cast<float>(total);
}

}  // namespace mmcaf
