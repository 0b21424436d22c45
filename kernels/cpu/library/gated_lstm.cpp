#include "../gated_lstm.hpp"

#include "calls.hpp"

using namespace mmcaf;

MMCAF_EXPORT int32_t mmcaf_gated_lstm(const float *inputs, const float *gates, const float *hidden_start,
                                      const float *cell_start, const float *weights, float *outputs, int64_t steps,
                                      int64_t cases, int64_t hidden, int64_t threads) {
    return ran([&] {
        gated_lstm({steps, cases, hidden, inputs, gates, hidden_start, cell_start, weights, outputs}, Threads(threads));
    });
}

MMCAF_EXPORT int32_t mmcaf_gated_lstm_states(const float *inputs, const float *gates, const float *hidden_start,
                                             const float *cell_start, const float *weights, float *cells, float *curves,
                                             int64_t steps, int64_t cases, int64_t hidden, int64_t threads) {
    return ran([&] {
        gated_lstm(
            {steps, cases, hidden, inputs, gates, hidden_start, cell_start, weights, nullptr, cells, curves},
            Threads(threads));
    });
}
