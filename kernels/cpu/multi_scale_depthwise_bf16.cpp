// The multi-scale kernel of bf16 maps whose taps are bf16 too, with products of pairs.

#include "lanes_avx512.hpp"

#include "multi_scale_depthwise_packed.hpp"

namespace mmcaf {
namespace {

struct Pairs {
    static constexpr int SIZE = 2;
    using Sum = __m512;

    static Sum start(const int8_t *) { return Lanes::zero(); }
    static Sum multiply(Sum sum, __m512i values, __m512i taps) {
        return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(values), reinterpret_cast<__m512bh>(taps));
    }
    static Lanes::Floats floats(Sum sum) { return sum; }
    static Lanes::Floats middle(__m512i values, int place) {
        return _mm512_castsi512_ps(place == 0 ? _mm512_slli_epi32(values, 16)
                                              : _mm512_and_si512(values, _mm512_set1_epi32(-65536)));
    }
    static void stage(const void *x, const int64_t *planes, int64_t channels, int8_t *to) {
        const __mmask16 inside = static_cast<__mmask16>((1u << channels) - 1);
        const uint16_t *bits = static_cast<const uint16_t *>(x);
        __m512i v[2];
        for (int k = 0; k < 2; ++k) {
            v[k] = planes[k] < 0 ? _mm512_setzero_si512()
                                 : _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(inside, bits + planes[k]));
        }
        _mm512_store_si512(to, _mm512_or_si512(v[0], _mm512_slli_epi32(v[1], 16)));
    }
};

}  // namespace

void multi_scale_bf16(const MultiScaleTask &task) { sum_up<InPacks<Pairs>>(task); }

}  // namespace mmcaf
