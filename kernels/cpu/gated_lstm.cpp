// All steps of a gated LSTM on a processor, both directions at once where there are two threads.
//
// A step reads every recurrent weight once and does two operations with it, so it can be no faster than the weights
// come out of the cache: they lie in the order in which they are read, and nothing else is left between the steps.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "library/export.hpp"

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace {

constexpr int64_t BLOCK = 64;                  // columns of the recurrent weights that are summed in registers
constexpr int64_t WORTH_A_THREAD = 1'000'000;  // products of one direction; fewer take less time than starting a thread

// e to the x, for x from -87 to 88; beyond, its value there. NaN stays NaN.
inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    const float power = std::rint(x * 1.44269504f);                          // x = power ln 2 + rest
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
    std::memcpy(&scale, &bits, sizeof scale);
    return sum * scale;
}

inline float tangent(float x) { return 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f); }

// sums [blocks, BLOCK] = output [hidden] times weights [blocks, hidden, BLOCK].
void multiply(const float *__restrict output, const float *__restrict weights, float *__restrict sums, int64_t hidden,
              int64_t blocks) {
    for (int64_t block = 0; block < blocks; ++block, sums += BLOCK) {
        float sum[BLOCK] = {};
        for (int64_t unit = 0; unit < hidden; ++unit, weights += BLOCK) {
            for (int64_t column = 0; column < BLOCK; ++column) sum[column] += output[unit] * weights[column];
        }
        std::memcpy(sums, sum, sizeof sum);
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

struct Sequence {
    int64_t steps, cases, hidden, blocks;
    const float *inputs, *gates, *hidden_start, *cell_start, *weights;
    float *outputs;          // of every step, or null where the next two are wanted in their place
    float *cells, *curves;  // of every step, or null
};

// One case in one direction.
void run(const Sequence &all, int64_t direction, int64_t at) {
    const int64_t hidden = all.hidden, place = direction * all.cases + at;
    const float *weights = all.weights + direction * all.blocks * hidden * BLOCK;
    std::vector<float> sums(all.blocks * BLOCK);
    std::vector<float> cell(all.cell_start + place * hidden, all.cell_start + (place + 1) * hidden);
    std::vector<float> own(all.outputs ? 0 : hidden);
    const float *last = all.hidden_start + place * hidden;
    for (int64_t step = 0; step < all.steps; ++step) {
        const int64_t now = 2 * all.cases * step + place;
        const float *input = all.inputs + now * 4 * hidden, *gates = all.gates + now * hidden;
        float *output = all.outputs ? all.outputs + now * hidden : own.data();
        multiply(last, weights, sums.data(), hidden, all.blocks);
        if (all.outputs) {
            advance(input, sums.data(), gates, cell.data(), output, hidden);
        } else {
            advance_telling(input, sums.data(), gates, cell.data(), output, all.curves + now * 4 * hidden, hidden);
            std::memcpy(all.cells + now * hidden, cell.data(), hidden * sizeof(float));
        }
        last = output;
    }
}

#if defined(__linux__)
// Where this process may run, as it was at the first call: before a runtime binds its threads to one processor each.
__attribute__((noinline)) const cpu_set_t &allowed() {
    static const cpu_set_t known = [] {
        cpu_set_t set;
        CPU_ZERO(&set);
        sched_getaffinity(0, sizeof set, &set);
        return set;
    }();
    return known;
}
#endif

// A thread inherits its parent's binding, and the two would take turns on one processor.
void send_elsewhere(std::thread &thread) {
#if defined(__linux__)
    cpu_set_t others = allowed();
    CPU_CLR(sched_getcpu(), &others);
    if (CPU_COUNT(&others) > 0) pthread_setaffinity_np(thread.native_handle(), sizeof others, &others);
#else
    (void)thread;
#endif
}

void run_both(const Sequence &all, int64_t threads) {
    const auto direction = [&all](int64_t which) {
        for (int64_t at = 0; at < all.cases; ++at) run(all, which, at);
    };
    std::thread other;
    if (threads > 1 && all.steps * all.cases * 4 * all.hidden * all.hidden >= WORTH_A_THREAD) {
        try {
            other = std::thread(direction, 1);
            send_elsewhere(other);
        } catch (const std::system_error &) {
            // The system has no thread to give: one direction after the other.
        }
    }
    direction(0);
    if (other.joinable()) {
        other.join();
    } else {
        direction(1);
    }
}

int64_t blocks_of(int64_t hidden) { return (4 * hidden + BLOCK - 1) / BLOCK; }

}  // namespace

// Whether the processor has the instructions that this library is made of. To be called first, and the rest only if so;
// nothing else may run when the library is loaded.
MMCAF_EXPORT int mmcaf_runs_here() {
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
#endif
#if defined(__linux__)
    allowed();
#endif
    return 1;
}

// Every sigmoid is written as (1 + tanh(half)) / 2: with t = tanh(inputs + output * weights), in parts i, f, o, c, each of
// `hidden`, cell = gate ((t_f + 1) cell + (t_i + 1) t_c) and output = gate (t_o + 1) tanh(cell), where gate is half the gate.
//
// inputs [steps, 2, cases, 4 hidden], gates and outputs [steps, 2, cases, hidden], both starts [2, cases, hidden],
// weights [2, blocks, hidden, 64]: the columns in blocks of 64, the last one filled up. The answer does not depend on
// `threads`, of which more than two are of no use.
MMCAF_EXPORT void mmcaf_gated_lstm(const float *inputs, const float *gates, const float *hidden_start,
                                 const float *cell_start, const float *weights, float *outputs, int64_t steps,
                                 int64_t cases, int64_t hidden, int64_t threads) {
    run_both({steps, cases, hidden, blocks_of(hidden), inputs, gates, hidden_start, cell_start, weights, outputs, nullptr,
              nullptr},
             threads);
}

// The same, of which are told, in the place of the outputs, cell [steps, 2, cases, hidden] and t [steps, 2, cases,
// 4 hidden] of every step: what its gradient is made from.
MMCAF_EXPORT void mmcaf_gated_lstm_states(const float *inputs, const float *gates, const float *hidden_start,
                                        const float *cell_start, const float *weights, float *cells, float *curves,
                                        int64_t steps, int64_t cases, int64_t hidden, int64_t threads) {
    run_both({steps, cases, hidden, blocks_of(hidden), inputs, gates, hidden_start, cell_start, weights, nullptr, cells,
              curves},
             threads);
}
