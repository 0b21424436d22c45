// The steps of a gated LSTM, in the instructions of the file that includes this: plain loops, which compilers make vectors of.
//
// A step reads every recurrent weight once and does two operations with it, so it can be no faster than the weights
// come out of the cache: they lie in the order in which they are read, and nothing else is left between the steps.

#pragma once

#include "gated_lstm.hpp"

namespace mmcaf {
namespace {

// e to the x, for x from -87 to 88; beyond, its value there. NaN stays NaN.
inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float power = __builtin_rintf(x * 1.44269504f);                          // x = power ln 2 + rest
    const float rest = (x - power * 0.693359375f) + power * 2.12194440e-4f;  // ln 2 in two parts, the first exact
    float sum = 1.0f / 5040;                                                 // of the series of e to the rest
    sum = sum * rest + 1.0f / 720;
    sum = sum * rest + 1.0f / 120;
    sum = sum * rest + 1.0f / 24;
    sum = sum * rest + 1.0f / 6;
    sum = sum * rest + 0.5f;
    sum = sum * rest + 1.0f;
    sum = sum * rest + 1.0f;
    const int32_t bits = (static_cast<int32_t>(power) + 127) << 23;
    float scale;
    __builtin_memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

inline float tangent(float x) { return 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f); }

// sums [blocks, GATED_LSTM_BLOCK] = output [hidden] times weights [blocks, hidden, GATED_LSTM_BLOCK].
void multiply(const float *__restrict output, const float *__restrict weights, float *__restrict sums, int64_t hidden,
              int64_t blocks) {
    for (int64_t block = 0; block < blocks; ++block, sums += GATED_LSTM_BLOCK) {
        float sum[GATED_LSTM_BLOCK] = {};
        for (int64_t unit = 0; unit < hidden; ++unit, weights += GATED_LSTM_BLOCK) {
            for (int64_t column = 0; column < GATED_LSTM_BLOCK; ++column) sum[column] += output[unit] * weights[column];
        }
        __builtin_memcpy(sums, sum, sizeof sum);
    }
}

// cell and output [hidden] after a step, of what its input and the last output add [4 hidden] and its gates [hidden].
void advance(const float *__restrict input, const float *__restrict sums, const float *__restrict gates,
             float *__restrict cell, float *__restrict output, int64_t hidden) {
    for (int64_t unit = 0; unit < hidden; ++unit) {
        const float i = tangent(input[unit] + sums[unit]) + 1.0f;
        const float f = tangent(input[hidden + unit] + sums[hidden + unit]) + 1.0f;
        const float o = tangent(input[2 * hidden + unit] + sums[2 * hidden + unit]) + 1.0f;
        const float c = tangent(input[3 * hidden + unit] + sums[3 * hidden + unit]);
        cell[unit] = gates[unit] * (f * cell[unit] + i * c);
        output[unit] = gates[unit] * (o * tangent(cell[unit]));
    }
}

// As `advance`, and tanh of what the step reads is kept, [4 hidden].
void advance_telling(const float *__restrict input, const float *__restrict sums, const float *__restrict gates,
                     float *__restrict cell, float *__restrict output, float *__restrict curves, int64_t hidden) {
    for (int64_t column = 0; column < 4 * hidden; ++column) curves[column] = tangent(input[column] + sums[column]);
    for (int64_t unit = 0; unit < hidden; ++unit) {
        const float i = curves[unit] + 1.0f, f = curves[hidden + unit] + 1.0f, o = curves[2 * hidden + unit] + 1.0f;
        cell[unit] = gates[unit] * (f * cell[unit] + i * curves[3 * hidden + unit]);
        output[unit] = gates[unit] * (o * tangent(cell[unit]));
    }
}

void all_steps(const GatedLstm &layer, int64_t direction, int64_t at, float *scratch) {
    const int64_t hidden = layer.hidden, place = direction * layer.cases + at;
    const float *weights = layer.weights + direction * layer.blocks() * hidden * GATED_LSTM_BLOCK;
    float *sums = scratch, *cell = sums + layer.blocks() * GATED_LSTM_BLOCK, *own = cell + hidden;
    __builtin_memcpy(cell, layer.cell_start + place * hidden, hidden * sizeof(float));
    const float *last = layer.hidden_start + place * hidden;
    for (int64_t step = 0; step < layer.steps; ++step) {
        const int64_t now = 2 * layer.cases * step + place;
        const float *input = layer.inputs + now * 4 * hidden, *gates = layer.gates + now * hidden;
        float *output = layer.outputs ? layer.outputs + now * hidden : own;
        multiply(last, weights, sums, hidden, layer.blocks());
        if (layer.outputs) {
            advance(input, sums, gates, cell, output, hidden);
        } else {
            advance_telling(input, sums, gates, cell, output, layer.curves + now * 4 * hidden, hidden);
            __builtin_memcpy(layer.cells + now * hidden, cell, hidden * sizeof(float));
        }
        last = output;
    }
}

}  // namespace
}  // namespace mmcaf
