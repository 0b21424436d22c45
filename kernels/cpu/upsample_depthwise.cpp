#include "upsample_depthwise.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "aligned.hpp"
#include "checks.hpp"
#include "features.hpp"
#include "scratch.hpp"
#include "strips.hpp"
#include "upsample_depthwise_task.hpp"

namespace mmcaf {
namespace {

static constexpr int64_t MOST_PLANES = 6;  // of y that are computed together

using Form = void (*)(const UpsampleTask &);

Form chosen() {
    const Features &here = features();
    (void)here;
#if defined(MMCAF_WITH_AVX512)
    if (here.avx512) return upsample_avx512;
#endif
#if defined(MMCAF_WITH_AVX2)
    if (here.avx2) return upsample_avx2;
#endif
    return upsample_reference;
}

// [blocks, 28, 16]; `step` is that of the map.
Aligned<float> pack(const UpsampleWeights &weights, int64_t channels, float step) {
    Aligned<float> packed(blocks_of(channels) * 28 * BLOCK);
    for (int64_t c = 0; c < channels; ++c) {
        float *to = packed.data() + c / BLOCK * 28 * BLOCK + c % BLOCK;
        for (int64_t k = 0; k < 27; ++k) to[k * BLOCK] = weights.taps[c * 27 + k] * step;
        to[27 * BLOCK] = weights.bias[c];
    }
    return packed;
}

}  // namespace

struct UpsampleDepthwise::Plan {
    Extent map, answer;
    Stored in, out;
    Form form;
    AxisTable depth, height, width;
    Aligned<float> weights;
    std::vector<float> taps, bias;
};

const char *UpsampleDepthwise::unsupported(const Extent &map, Stored in, Stored out) {
    const char *reason = unsupported_map(map, in, out);
    return reason ? reason : unsupported_map(answer(map), in, out);
}

Extent UpsampleDepthwise::answer(const Extent &map) {
    return {map.cases, 2 * map.depth, 2 * map.height, 2 * map.width, map.channels};
}

UpsampleDepthwise::UpsampleDepthwise(const Extent &map, Stored in, Stored out, const UpsampleWeights &weights) {
    if (const char *reason = unsupported(map, in, out)) throw std::invalid_argument(reason);
    const Extent twice = answer(map);
    const int64_t channels = map.channels;
    plan_.reset(new Plan{map, twice, in, out, chosen(), AxisTable(map.depth, twice.depth),
                         AxisTable(map.height, twice.height), AxisTable(map.width, twice.width),
                         pack(weights, channels, in.type == Type::i8 ? in.step : 1.0f),
                         std::vector<float>(weights.taps, weights.taps + 27 * channels),
                         std::vector<float>(weights.bias, weights.bias + channels)});
}

UpsampleDepthwise::~UpsampleDepthwise() = default;

void UpsampleDepthwise::run(const void *x, void *y, const Parallel &parallel) const {
    const Plan &plan = *plan_;
    const Extent &answer = plan.answer;
    const int64_t tile = std::min(answer.depth, MOST_PLANES), tiles = (answer.depth + tile - 1) / tile;
    const int64_t row = (upsample_room(plan.map, tile, 2) - upsample_room(plan.map, tile, 0)) / 2;
    const Strips strips(answer.height, row * static_cast<int64_t>(sizeof(float)));
    const Grid grid({plan.map.cases, strips.count, tiles, blocks_of(plan.map.channels)});
    parallel(grid.tasks(), [&](int index) {
        const auto place = grid.place(index);
        UpsampleTask task{};
        task.x = x;
        task.y = y;
        task.map = plan.map;
        task.answer = answer;
        task.in = plan.in;
        task.out = plan.out;
        task.resizing = {plan.depth.axis(), plan.height.axis(), plan.width.axis()};
        task.n = place[0];
        task.channel = place[3] * BLOCK;
        task.plane = place[2] * tile;
        task.planes = std::min(tile, answer.depth - task.plane);
        task.row = strips.first(place[1]);
        task.rows = strips.rows(place[1]);
        task.weights = plan.weights.data() + place[3] * 28 * BLOCK;
        task.reference = {plan.taps.data(), plan.bias.data()};
        if (plan.form != upsample_reference) {
            task.room = scratch(upsample_room(plan.map, task.planes, task.rows) * sizeof(float));
        }
        plan.form(task);
    });
}

}  // namespace mmcaf
