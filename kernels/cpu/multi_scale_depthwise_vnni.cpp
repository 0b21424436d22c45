// The multi-scale kernel of i8 maps with VNNI: sums in whole numbers. Each starts with what the 128 add that are added to
// each value of the map.

#include "bytes_avx512.hpp"
#include "multi_scale_depthwise_packed.hpp"

namespace mmcaf {
namespace {

struct Quads {
    static constexpr int SIZE = 4;
    using Sum = __m512i;

    static Sum start(const int8_t *from) { return _mm512_load_si512(from); }
    static Sum multiply(Sum sum, __m512i values, __m512i taps) { return _mm512_dpbusd_epi32(sum, values, taps); }
    static Lanes::Floats floats(Sum sum) { return _mm512_cvtepi32_ps(sum); }
    static Lanes::Floats middle(__m512i values, int place) {
        const __m512i one = _mm512_set1_epi32(1 << 8 * place);
        return _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(_mm512_set1_epi32(-128), values, one));
    }
    static void stage(const void *x, const int64_t *planes, int64_t channels, int8_t *to) {
        __m128i v[4];
        for (int k = 0; k < 4; ++k) {
            v[k] = planes[k] < 0 ? no_bytes() : load_bytes(static_cast<const int8_t *>(x) + planes[k], channels);
        }
        const __m128i low01 = _mm_unpacklo_epi8(v[0], v[1]), high01 = _mm_unpackhi_epi8(v[0], v[1]);
        const __m128i low23 = _mm_unpacklo_epi8(v[2], v[3]), high23 = _mm_unpackhi_epi8(v[2], v[3]);
        __m128i *quad = reinterpret_cast<__m128i *>(to);
        _mm_store_si128(quad, _mm_unpacklo_epi16(low01, low23));
        _mm_store_si128(quad + 1, _mm_unpackhi_epi16(low01, low23));
        _mm_store_si128(quad + 2, _mm_unpacklo_epi16(high01, high23));
        _mm_store_si128(quad + 3, _mm_unpackhi_epi16(high01, high23));
    }
};

}  // namespace

void multi_scale_vnni(const MultiScaleTask &task) { sum_up<InPacks<Quads>>(task); }

}  // namespace mmcaf
