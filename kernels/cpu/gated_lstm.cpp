#include "gated_lstm.hpp"

#include <vector>

#include "features.hpp"

namespace mmcaf {
namespace {

constexpr int64_t WORTH_A_TASK = 1'000'000;  // products; fewer take less time than handing them out

auto steps_here() {
#if defined(MMCAF_WITH_AVX512)
    if (features().avx512) return gated_lstm_avx512;
#endif
#if defined(MMCAF_WITH_AVX2)
    if (features().avx2) return gated_lstm_avx2;
#endif
    return gated_lstm_reference;
}

}  // namespace

// The directions need nothing of each other, nor do cases.
void gated_lstm(const GatedLstm &layer, const Parallel &run) {
    const auto steps = steps_here();
    const auto sequence = [&](int task) {
        std::vector<float> scratch(layer.blocks() * GATED_LSTM_BLOCK + 2 * layer.hidden);
        steps(layer, task % 2, task / 2, scratch.data());
    };
    const int tasks = static_cast<int>(2 * layer.cases);
    if (layer.steps * 4 * layer.hidden * layer.hidden >= WORTH_A_TASK) {
        run(tasks, sequence);
    } else {
        for (int task = 0; task < tasks; ++task) sequence(task);
    }
}

}  // namespace mmcaf
