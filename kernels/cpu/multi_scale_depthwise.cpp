#include "multi_scale_depthwise.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "aligned.hpp"
#include "checks.hpp"
#include "features.hpp"
#include "multi_scale_depthwise_quads.hpp"
#include "scratch.hpp"
#include "strips.hpp"

namespace mmcaf {
namespace {

using Form = void (*)(const MultiScaleTask &);

Form chosen(Type in) {
    const Features &here = features();
    (void)here;
    (void)in;
#if defined(MMCAF_WITH_VNNI)
    if (in == Type::i8 && here.vnni) return multi_scale_vnni;
#endif
#if defined(MMCAF_WITH_AVX512)
    if (here.avx512) return multi_scale_avx512;
#endif
#if defined(MMCAF_WITH_AVX2)
    if (here.avx2) return multi_scale_avx2;
#endif
    return multi_scale_reference;
}

// [blocks, MULTI_SCALE_VECTORS, 16]; `step` is that of the map.
Aligned<float> pack_multi_scale(const MultiScaleWeights &weights, int64_t channels, float step) {
    Aligned<float> packed(blocks_of(channels) * MULTI_SCALE_VECTORS * BLOCK);
    for (int64_t channel = 0; channel < channels; ++channel) {
        const float *taps = weights.taps + channel * MULTI_SCALE_TAPS;
        float *to = packed.data() + channel / BLOCK * MULTI_SCALE_VECTORS * BLOCK + channel % BLOCK;
        for (int at = 0; at < 25; ++at) {
            for (int t = 0; t < 5; ++t, to += BLOCK) *to = taps[28 + t * 25 + at];
            if (at_rim(at / 5, at % 5)) continue;
            for (int t = 0; t < 3; ++t, to += BLOCK) *to = taps[1 + t * 9 + (at / 5 - 1) * 3 + at % 5 - 1];
        }
        *to = taps[0];
        for (int size = 0; size < 3; ++size) {
            to[(1 + size) * BLOCK] = weights.scales[size * channels + channel] * step;
            to[(4 + size) * BLOCK] = weights.bias[size * channels + channel];
        }
    }
    return packed;
}

// One block: vectors of four taps of 16 channels in the order in which they are read, then what the sums of size 3 and
// of size 5 of each plane start with: minus 128 times its taps.
template <int Z, bool HALO> void pack_block(const float *taps, int64_t channels, int8_t *to) {
    using Q = Quads<Z, HALO>;
    int32_t *starts = reinterpret_cast<int32_t *>(to + Q::VECTORS() * 64);
    const auto pack = [&](int z, int reach, int at) {  // `at` counts rows and columns of the taps
        const int size = 2 * reach + 1, first = reach == 1 ? 1 : 28;
        for (int quad = 0; quad < Q::COUNT; ++quad) {
            if (!Q::reads(quad, z, reach)) continue;
            for (int64_t k = 0; k < channels; ++k) {
                for (int byte = 0; byte < 4; ++byte) {
                    const int tap = Q::tap(quad, byte, z, reach);
                    if (tap < 0) continue;
                    const float value = taps[k * MULTI_SCALE_TAPS + first + tap * size * size + at];
                    to[k * 4 + byte] = static_cast<int8_t>(value);
                    starts[((reach == 1 ? 0 : Z) + z) * BLOCK + k] -= 128 * static_cast<int32_t>(value);
                }
            }
            to += 64;
        }
    };
    for (int at = 0; at < 25; ++at) {
        for (int z = 0; z < Z; ++z) pack(z, 2, at);
        if (at_rim(at / 5, at % 5)) continue;
        for (int z = 0; z < Z; ++z) pack(z, 1, (at / 5 - 1) * 3 + at % 5 - 1);
    }
}

struct QuadWeights {
    int64_t block = 0;  // bytes
    Aligned<int8_t> packed;
};

template <int Z, bool HALO> QuadWeights pack_quads_of(const float *taps, int64_t channels) {
    QuadWeights weights;
    weights.block = Quads<Z, HALO>::VECTORS() * 64 + 2 * Z * 64;
    weights.packed = Aligned<int8_t>(blocks_of(channels) * weights.block);
    for (int64_t first = 0; first < channels; first += BLOCK) {
        pack_block<Z, HALO>(taps + first * MULTI_SCALE_TAPS, std::min(BLOCK, channels - first),
                            weights.packed.data() + first / BLOCK * weights.block);
    }
    return weights;
}

QuadWeights pack_quads(int64_t depth, const float *taps, int64_t channels) {
    switch (depth) {
        case 1: return pack_quads_of<1, false>(taps, channels);
        case 2: return pack_quads_of<2, false>(taps, channels);
        case 3: return pack_quads_of<3, false>(taps, channels);
        case 4: return pack_quads_of<4, false>(taps, channels);
        case 5: return pack_quads_of<5, false>(taps, channels);
        case 6: return pack_quads_of<6, false>(taps, channels);
        default: return pack_quads_of<TILE, true>(taps, channels);
    }
}

// Bytes of the staged map of so many rows of the sum, and of the sums where they are resized.
int64_t room_of(const Extent &map, int64_t rows, bool quads, bool resized) {
    const int64_t planes = map.depth > WHOLE_DEPTH ? TILE + 4 : map.depth;
    const int64_t vectors = quads ? (planes > 4 ? 2 : 1) : planes;
    const int64_t kept = resized ? planes * rows * map.width : 0;
    return (vectors * (rows + 4) * (map.width + 5) + kept) * 64;
}

}  // namespace

struct MultiScaleDepthwise::Plan {
    Extent map;
    Stored in, out;
    std::array<int64_t, 3> size;
    bool resized;
    Form form;
    bool quads;
    AxisTable depth, height, width;
    Aligned<float> weights;
    QuadWeights quad_weights;
    std::vector<float> plain, scales, bias;  // for the reference
};

const char *MultiScaleDepthwise::unsupported(const Extent &map, Stored in, Stored out, std::array<int64_t, 3> resized) {
    if (const char *reason = unsupported_map(map, in, out)) return reason;
    const std::array<int64_t, 3> own{map.depth, map.height, map.width};
    if (std::any_of(resized.begin(), resized.end(), [](int64_t length) { return length < 1; })) {
        return "the size to resize to is not positive";
    }
    return resized != own && map.depth > WHOLE_DEPTH ? "only maps of up to 6 planes are resized" : nullptr;
}

MultiScaleDepthwise::MultiScaleDepthwise(const Extent &map, Stored in, Stored out, std::array<int64_t, 3> resized,
                                         const MultiScaleWeights &weights) {
    if (const char *reason = unsupported(map, in, out, resized)) throw std::invalid_argument(reason);
    const int64_t channels = map.channels;
    if (in.type == Type::i8) {
        for (int64_t channel = 0; channel < channels; ++channel) {
            const float *taps = weights.taps + channel * MULTI_SCALE_TAPS;
            if (!whole_numbers(taps + 1, MULTI_SCALE_TAPS - 1)) {
                throw std::invalid_argument("the taps of an i8 map must be whole numbers from -127 to 127");
            }
        }
    }
    const Form form = chosen(in.type);
    const bool reference = form == multi_scale_reference;
    bool quads = false;
#if defined(MMCAF_WITH_VNNI)
    quads = form == multi_scale_vnni;
#endif
    const bool other = resized != std::array<int64_t, 3>{map.depth, map.height, map.width};
    const auto copy = [&](const float *from, int64_t count) {
        return reference ? std::vector<float>(from, from + count) : std::vector<float>();
    };
    plan_.reset(new Plan{map, in, out, resized, other, form, quads, AxisTable(map.depth, resized[0]),
                         AxisTable(map.height, resized[1]), AxisTable(map.width, resized[2]),
                         pack_multi_scale(weights, channels, in.type == Type::i8 ? in.step : 1.0f),
                         quads ? pack_quads(map.depth, weights.taps, channels) : QuadWeights(),
                         copy(weights.taps, channels * MULTI_SCALE_TAPS), copy(weights.scales, 3 * channels),
                         copy(weights.bias, 3 * channels)});
}

MultiScaleDepthwise::~MultiScaleDepthwise() = default;

void MultiScaleDepthwise::run(const void *x, void *y, const Parallel &parallel) const {
    const Plan &plan = *plan_;
    const Extent &map = plan.map;
    const Resizing resizing{plan.depth.axis(), plan.height.axis(), plan.width.axis()};
    const int64_t tile = map.depth > WHOLE_DEPTH ? TILE : map.depth;
    const int64_t row = room_of(map, 1, plan.quads, plan.resized) - room_of(map, 0, plan.quads, plan.resized);
    // Rows of the answer; where it is smaller than the sum, each needs more than one of those.
    const int64_t of_sum = plan.resized ? (map.height + plan.size[1] - 1) / plan.size[1] : 1;
    const Strips strips(plan.size[1], of_sum * row);
    const int64_t tiles = (map.depth + tile - 1) / tile, blocks = blocks_of(map.channels);
    const Grid grid({map.cases, strips.count, tiles, blocks});
    parallel(grid.tasks(), [&](int index) {
        const auto place = grid.place(index);
        MultiScaleTask task{};
        task.x = x;
        task.y = y;
        task.map = map;
        task.in = plan.in;
        task.out = plan.out;
        task.n = place[0];
        task.channel = place[3] * BLOCK;
        task.plane = place[2] * tile;
        task.planes = std::min(tile, map.depth - task.plane);
        task.row = task.out_row = strips.first(place[1]);
        task.rows = task.out_rows = strips.rows(place[1]);
        if (plan.resized) {
            task.resizing = &resizing;
            task.row = resizing.height.low[task.out_row];
            task.rows = resizing.height.high[task.out_row + task.out_rows - 1] - task.row + 1;
        }
        task.weights = plan.weights.data() + place[3] * MULTI_SCALE_VECTORS * BLOCK;
        task.quads = plan.quads ? plan.quad_weights.packed.data() + place[3] * plan.quad_weights.block : nullptr;
        if (plan.form == multi_scale_reference) {
            task.reference = {plan.plain.data(), plan.scales.data(), plan.bias.data()};
        } else {
            task.room = scratch(room_of(map, task.rows, plan.quads, plan.resized));
        }
        plan.form(task);
    });
}

}  // namespace mmcaf
