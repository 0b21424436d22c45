// As it is written, for any processor.

#include <cmath>

#include "groupnorm_act_parts.hpp"

namespace mmcaf {
namespace {

template <class Value> double read(const Value *x);
template <> double read(const float *x) { return *x; }
template <> double read(const uint16_t *x) { return widened(*x); }

template <class Value>
void statistics(const void *data, int64_t begin, int64_t end, int64_t channels, double *means, double *squares) {
    const Value *x = static_cast<const Value *>(data);
    for (int64_t c = 0; c < channels; ++c) means[c] = squares[c] = 0;
    for (int64_t at = begin; at < end; ++at) {
        for (int64_t c = 0; c < channels; ++c) means[c] += read(x + at * channels + c);
    }
    for (int64_t c = 0; c < channels; ++c) means[c] /= static_cast<double>(end - begin);
    for (int64_t at = begin; at < end; ++at) {
        for (int64_t c = 0; c < channels; ++c) {
            const double offset = read(x + at * channels + c) - means[c];
            squares[c] += offset * offset;
        }
    }
}

int rounded(float value, const GroupNormAct &layer) {
    const bool sign = layer.rounded.type == Type::i8;
    const float low = sign ? -128 : 0, high = sign ? 127 : 255;
    const float whole = std::nearbyint(value * (1 / layer.step)) + static_cast<float>(layer.zero_point);
    return static_cast<int>(whole > low ? (whole < high ? whole : high) : low);
}

void apply(const GroupNormAct &layer, int64_t at, int64_t begin, int64_t end, const float *scale, const float *shift) {
    const int64_t channels = layer.channels, first = (at * layer.positions + begin) * channels;
    for (int64_t i = 0; i < (end - begin) * channels; ++i) {
        const int64_t place = first + i, c = i % channels;
        float y = value_at(layer.x, place) * scale[c] + shift[c];
        if (layer.residual) y += value_at(layer.residual, place);
        if (y < 0) y *= layer.slope;
        if (layer.floating.type == Type::f32) static_cast<float *>(layer.floating.data)[place] = y;
        if (layer.floating.type == Type::bf16) static_cast<uint16_t *>(layer.floating.data)[place] = narrowed(y);
        if (layer.rounded) static_cast<uint8_t *>(layer.rounded.data)[place] = static_cast<uint8_t>(rounded(y, layer));
    }
}

}  // namespace

GroupNormParts groupnorm_act_reference() { return {statistics<float>, statistics<uint16_t>, apply}; }

}  // namespace mmcaf
