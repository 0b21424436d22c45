// All steps of a gated LSTM, in both directions.

#pragma once

#include <cstdint>

#include "parallel.hpp"

namespace mmcaf {

// Columns of the recurrent weights whose sums stay in registers.
constexpr int64_t GATED_LSTM_BLOCK = 64;

// Every sigmoid is written as (1 + tanh(half)) / 2: with t = tanh(inputs + output * weights), in parts i, f, o, c, each of
// `hidden`, cell = gate ((t_f + 1) cell + (t_i + 1) t_c) and output = gate (t_o + 1) tanh(cell), where gate is half the gate.
//
// weights [2, blocks, hidden, 64] are the columns in blocks, the last one filled up. Told are either the outputs, or in
// their place cells and t (curves), from which the gradient is made.
struct GatedLstm {
    int64_t steps, cases, hidden;
    const float *inputs;                    // [steps, 2, cases, 4 hidden]
    const float *gates;                     // [steps, 2, cases, hidden]
    const float *hidden_start, *cell_start;  // [2, cases, hidden]
    const float *weights;
    float *outputs = nullptr;                   // [steps, 2, cases, hidden], or null
    float *cells = nullptr, *curves = nullptr;  // [steps, 2, cases, hidden] and [steps, 2, cases, 4 hidden], or null
    int64_t blocks() const { return (4 * hidden + GATED_LSTM_BLOCK - 1) / GATED_LSTM_BLOCK; }
};

void gated_lstm(const GatedLstm &layer, const Parallel &run);

// All steps of one case in one direction, by each set of instructions. scratch [64 blocks + 2 hidden].
void gated_lstm_reference(const GatedLstm &layer, int64_t direction, int64_t at, float *scratch);
void gated_lstm_avx2(const GatedLstm &layer, int64_t direction, int64_t at, float *scratch);
void gated_lstm_avx512(const GatedLstm &layer, int64_t direction, int64_t at, float *scratch);

}  // namespace mmcaf
