// The passes of groupnorm_act over its maps, in the vectors of the file that includes this.

#pragma once

#include <type_traits>

#include "groupnorm_act_parts.hpp"
#include "vectors.hpp"

namespace mmcaf {
namespace {

constexpr int64_t NEAR = 32 << 10;  // bytes that are read twice, the second time from the nearest cache
constexpr int TILE = Vector::WIDTH == 16 ? 8 : 4;  // vectors of channels whose sums stay in registers

// A tile of neighbouring channels in some positions: each channel's mean, first roughly and then what is missing of it, and
// its squares about the rough one. What lies far from zero loses no digits by it.
template <class Value, int VECTORS, bool WHOLE>
void centre_and_squares(const Value *x, int64_t rows, int64_t channels, int last, float *centres, float *rests,
                        float *squares) {
    const auto load = [last](const Value *from, int at) {
        return WHOLE || at + 1 < VECTORS ? Vector::load(from) : Vector::load(from, last);
    };
    const Vector share = Vector::all(1.0f / static_cast<float>(rows));
    Vector centre[VECTORS], rest[VECTORS], square[VECTORS];
    for (int at = 0; at < VECTORS; ++at) centre[at] = rest[at] = square[at] = Vector::all(0);
    for (int64_t row = 0; row < rows; ++row) {
        for (int at = 0; at < VECTORS; ++at) {
            centre[at] = centre[at] + load(x + row * channels + at * Vector::WIDTH, at);
        }
    }
    for (int at = 0; at < VECTORS; ++at) centre[at] = centre[at] * share;
    for (int64_t row = 0; row < rows; ++row) {
        for (int at = 0; at < VECTORS; ++at) {
            const Vector offset = load(x + row * channels + at * Vector::WIDTH, at) - centre[at];
            rest[at] = rest[at] + offset;
            square[at] = multiply_add(offset, offset, square[at]);
        }
    }
    for (int at = 0; at < VECTORS; ++at) {
        centre[at].store(centres + at * Vector::WIDTH);
        rest[at].store(rests + at * Vector::WIDTH);
        square[at].store(squares + at * Vector::WIDTH);
    }
}

template <class Value, int MOST>
void tile(const Value *x, int64_t rows, int64_t channels, int count, float *centres, float *rests, float *squares) {
    if constexpr (MOST > 1) {
        if (count <= (MOST - 1) * Vector::WIDTH) {
            return tile<Value, MOST - 1>(x, rows, channels, count, centres, rests, squares);
        }
    }
    const int last = count - (MOST - 1) * Vector::WIDTH;
    if (last == Vector::WIDTH) {
        centre_and_squares<Value, MOST, true>(x, rows, channels, last, centres, rests, squares);
    } else {
        centre_and_squares<Value, MOST, false>(x, rows, channels, last, centres, rests, squares);
    }
}

template <class Value>
void statistics(const void *data, int64_t begin, int64_t end, int64_t channels, double *means, double *squares) {
    const Value *x = static_cast<const Value *>(data);
    const int64_t near = NEAR / (channels * static_cast<int64_t>(sizeof(Value)));
    const int64_t most = near < 8 ? 8 : near > 128 ? 128 : near;
    for (int64_t c = 0; c < channels; ++c) means[c] = squares[c] = 0;
    double before = 0;
    for (int64_t row = begin; row < end;) {
        const int64_t rows = end - row < most ? end - row : most;
        const double own = static_cast<double>(rows), share = own / (before + own), weight = before * share;
        for (int64_t first = 0; first < channels; first += TILE * Vector::WIDTH) {
            float centre[TILE * Vector::WIDTH], rest[TILE * Vector::WIDTH], square[TILE * Vector::WIDTH];
            const int64_t left = channels - first;
            const int count = left < TILE * Vector::WIDTH ? static_cast<int>(left) : TILE * Vector::WIDTH;
            tile<Value, TILE>(x + row * channels + first, rows, channels, count, centre, rest, square);
            for (int at = 0; at < count; ++at) {
                const double missing = rest[at] / own, step = centre[at] + missing - means[first + at];
                means[first + at] += step * share;
                squares[first + at] += square[at] - missing * rest[at] + step * step * weight;
            }
        }
        before += own;
        row += rows;
    }
}

struct None {};

// `last` is how many values the vector has, or 0 for all.
template <class Value> Vector load(const Value *from, int last) {
    return last ? Vector::load(from, last) : Vector::load(from);
}

template <class X, class Residual, class Floating, bool ROUNDED> struct Row {
    const X *x;
    const Residual *residual;
    Floating *floating;
    uint8_t *rounded;
    Vector slope, inverse, zero_point, low, high;

    __attribute__((always_inline)) void write(int64_t at, const float *scale, const float *shift, int last) const {
        Vector y = multiply_add(load(x + at, last), load(scale, last), load(shift, last));
        if constexpr (!std::is_same_v<Residual, None>) y = y + load(residual + at, last);
        y = largest(y * slope, y);
        if constexpr (!std::is_same_v<Floating, None>) {
            if (last) {
                y.store(floating + at, last);
            } else {
                y.store(floating + at);
            }
        }
        if constexpr (ROUNDED) {
            // The limits are whole numbers, so that it does not matter whether they or the rounding come first.
            const Vector whole = least(largest(y * inverse, low), high);
            const Vector moved = rounded_to_whole(whole) + zero_point;
            if (last) {
                moved.store_whole(rounded + at, last);
            } else {
                moved.store_whole(rounded + at);
            }
        }
    }
};

template <class X, class Residual, class Floating, bool ROUNDED>
void write(const GroupNormAct &layer, int64_t from, int64_t rows, const float *scale, const float *shift) {
    const bool sign = layer.rounded.type == Type::i8;
    const float zero_point = static_cast<float>(layer.zero_point);
    const Row<X, Residual, Floating, ROUNDED> row{static_cast<const X *>(layer.x.data),
                                                  static_cast<const Residual *>(layer.residual.data),
                                                  static_cast<Floating *>(layer.floating.data),
                                                  static_cast<uint8_t *>(layer.rounded.data),
                                                  Vector::all(layer.slope),
                                                  Vector::all(1 / layer.step),
                                                  Vector::all(zero_point),
                                                  Vector::all((sign ? -128 : 0) - zero_point),
                                                  Vector::all((sign ? 127 : 255) - zero_point)};
    const int64_t channels = layer.channels, whole = channels / Vector::WIDTH * Vector::WIDTH;
    const int last = static_cast<int>(channels - whole);
    for (int64_t at = from * channels; at < (from + rows) * channels; at += channels) {
        for (int64_t c = 0; c < whole; c += Vector::WIDTH) row.write(at + c, scale + c, shift + c, 0);
        if (last) row.write(at + whole, scale + whole, shift + whole, last);
    }
}

template <class X, class Residual>
void choose_outputs(const GroupNormAct &layer, int64_t from, int64_t rows, const float *scale, const float *shift) {
    const bool rounded = static_cast<bool>(layer.rounded);
    if (layer.floating.type == Type::f32) {
        (rounded ? write<X, Residual, float, true> : write<X, Residual, float, false>)(layer, from, rows, scale, shift);
    } else if (layer.floating.type == Type::bf16) {
        (rounded ? write<X, Residual, uint16_t, true>
                 : write<X, Residual, uint16_t, false>)(layer, from, rows, scale, shift);
    } else if (rounded) {
        write<X, Residual, None, true>(layer, from, rows, scale, shift);
    }
}

template <class X>
void choose_residual(const GroupNormAct &layer, int64_t from, int64_t rows, const float *scale, const float *shift) {
    if (layer.residual.type == Type::f32) {
        choose_outputs<X, float>(layer, from, rows, scale, shift);
    } else if (layer.residual.type == Type::bf16) {
        choose_outputs<X, uint16_t>(layer, from, rows, scale, shift);
    } else {
        choose_outputs<X, None>(layer, from, rows, scale, shift);
    }
}

void apply(const GroupNormAct &layer, int64_t at, int64_t begin, int64_t end, const float *scale, const float *shift) {
    const int64_t from = at * layer.positions + begin;
    (layer.x.type == Type::f32 ? choose_residual<float> : choose_residual<uint16_t>)(layer, from, end - begin, scale,
                                                                                    shift);
}

}  // namespace
}  // namespace mmcaf
