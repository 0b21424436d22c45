#include "gated_lstm_loops.hpp"

namespace mmcaf {

void gated_lstm_reference(const GatedLstm &layer, int64_t direction, int64_t at, float *scratch) {
    all_steps(layer, direction, at, scratch);
}

}  // namespace mmcaf
