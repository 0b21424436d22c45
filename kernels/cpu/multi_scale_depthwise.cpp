#include "multi_scale_depthwise.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "aligned.hpp"
#include "checks.hpp"
#include "features.hpp"
#include "multi_scale_depthwise_packs.hpp"
#include "scratch.hpp"
#include "strips.hpp"

namespace mmcaf {
namespace {

using Form = void (*)(const MultiScaleTask &);

// `exact`: whether the taps of sizes 3 and 5 are values of bf16.
Form chosen(Type in, bool exact) {
    const Features &here = features();
    (void)here;
    (void)in;
    (void)exact;
#if defined(MMCAF_WITH_BF16)
    if (in == Type::bf16 && exact && here.bf16) return multi_scale_bf16;
#endif
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

// How many planes of the map a form multiplies at once.
int planes_at_once(Form form) {
#if defined(MMCAF_WITH_BF16)
    if (form == multi_scale_bf16) return 2;
#endif
#if defined(MMCAF_WITH_VNNI)
    if (form == multi_scale_vnni) return 4;
#endif
    (void)form;
    return 1;
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

inline void put(int8_t *to, int at, float tap, int32_t *start) {
    to[at] = static_cast<int8_t>(tap);
    *start -= 128 * static_cast<int32_t>(tap);
}
inline void put(uint16_t *to, int at, float tap, int32_t *) { to[at] = narrowed(tap); }

// One block: vectors of several taps of 16 channels in the order in which they are read, then what the sums of size 3 and
// of size 5 of each plane start with: in whole numbers, minus 128 times its taps.
template <class T, class P, int Z> void pack_block(const float *taps, int64_t channels, int8_t *block) {
    constexpr int SIZE = 4 / sizeof(T);
    T *to = reinterpret_cast<T *>(block);
    int32_t *starts = reinterpret_cast<int32_t *>(block + P::VECTORS() * PACK_BYTES);
    const auto pack_taps = [&](int z, int reach, int at) {  // `at` counts rows and columns of the taps
        const int size = 2 * reach + 1, first = reach == 1 ? 1 : 28;
        for (int pack = 0; pack < P::COUNT; ++pack) {
            if (!P::reads(pack, z, reach)) continue;
            for (int64_t k = 0; k < channels; ++k) {
                for (int place = 0; place < SIZE; ++place) {
                    const int tap = P::tap(pack, place, z, reach);
                    if (tap < 0) continue;
                    put(to + k * SIZE, place, taps[k * MULTI_SCALE_TAPS + first + tap * size * size + at],
                        starts + ((reach == 1 ? 0 : Z) + z) * BLOCK + k);
                }
            }
            to += BLOCK * SIZE;
        }
    };
    for (int at = 0; at < 25; ++at) {
        for (int z = 0; z < Z; ++z) pack_taps(z, 2, at);
        if (at_rim(at / 5, at % 5)) continue;
        for (int z = 0; z < Z; ++z) pack_taps(z, 1, (at / 5 - 1) * 3 + at % 5 - 1);
    }
}

struct PackedWeights {
    int64_t block = 0;  // bytes
    Aligned<int8_t> packed;
};

template <class T, int Z, bool HALO> PackedWeights pack_depth(const float *taps, int64_t channels) {
    using P = Packs<Z, HALO, 4 / sizeof(T)>;
    PackedWeights weights;
    weights.block = (P::VECTORS() + 2 * Z) * PACK_BYTES;
    weights.packed = Aligned<int8_t>(blocks_of(channels) * weights.block);
    for (int64_t first = 0; first < channels; first += BLOCK) {
        pack_block<T, P, Z>(taps + first * MULTI_SCALE_TAPS, std::min(BLOCK, channels - first),
                            weights.packed.data() + first / BLOCK * weights.block);
    }
    return weights;
}

template <class T> PackedWeights pack_planes(int64_t depth, const float *taps, int64_t channels) {
    switch (depth) {
        case 1: return pack_depth<T, 1, false>(taps, channels);
        case 2: return pack_depth<T, 2, false>(taps, channels);
        case 3: return pack_depth<T, 3, false>(taps, channels);
        case 4: return pack_depth<T, 4, false>(taps, channels);
        case 5: return pack_depth<T, 5, false>(taps, channels);
        case 6: return pack_depth<T, 6, false>(taps, channels);
        default: return pack_depth<T, TILE, true>(taps, channels);
    }
}

PackedWeights pack_weights(int at_once, int64_t depth, const float *taps, int64_t channels) {
    if (at_once == 4) return pack_planes<int8_t>(depth, taps, channels);
    return at_once == 2 ? pack_planes<uint16_t>(depth, taps, channels) : PackedWeights();
}

// Bytes of the staged map of so many rows of the sum, and of the sums where they are resized.
int64_t room_of(const Extent &map, int64_t rows, int at_once, bool resized) {
    const int64_t planes = map.depth > WHOLE_DEPTH ? TILE + 4 : map.depth;
    const int64_t vectors = (planes + at_once - 1) / at_once;
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
    int at_once;
    AxisTable depth, height, width;
    Aligned<float> weights;
    PackedWeights packed;
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
    const auto all_of = [&](bool (*holds)(const float *, int64_t)) {  // of the taps of sizes 3 and 5
        for (int64_t channel = 0; channel < channels; ++channel) {
            if (!holds(weights.taps + channel * MULTI_SCALE_TAPS + 1, MULTI_SCALE_TAPS - 1)) return false;
        }
        return true;
    };
    if (in.type == Type::i8 && !all_of(whole_numbers)) {
        throw std::invalid_argument("the taps of an i8 map must be whole numbers from -127 to 127");
    }
    const Form form = chosen(in.type, in.type == Type::bf16 && all_of(values_of_bf16));
    const bool reference = form == multi_scale_reference;
    const int at_once = planes_at_once(form);
    const bool other = resized != std::array<int64_t, 3>{map.depth, map.height, map.width};
    const auto copy = [&](const float *from, int64_t count) {
        return reference ? std::vector<float>(from, from + count) : std::vector<float>();
    };
    plan_.reset(new Plan{map, in, out, resized, other, form, at_once, AxisTable(map.depth, resized[0]),
                         AxisTable(map.height, resized[1]), AxisTable(map.width, resized[2]),
                         pack_multi_scale(weights, channels, in.type == Type::i8 ? in.step : 1.0f),
                         pack_weights(at_once, map.depth, weights.taps, channels),
                         copy(weights.taps, channels * MULTI_SCALE_TAPS), copy(weights.scales, 3 * channels),
                         copy(weights.bias, 3 * channels)});
}

MultiScaleDepthwise::~MultiScaleDepthwise() = default;

void MultiScaleDepthwise::run(const void *x, void *y, const Parallel &parallel) const {
    const Plan &plan = *plan_;
    const Extent &map = plan.map;
    const Resizing resizing{plan.depth.axis(), plan.height.axis(), plan.width.axis()};
    const int64_t tile = map.depth > WHOLE_DEPTH ? TILE : map.depth;
    const int64_t row = room_of(map, 1, plan.at_once, plan.resized) - room_of(map, 0, plan.at_once, plan.resized);
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
        task.packs = plan.packed.block ? plan.packed.packed.data() + place[3] * plan.packed.block : nullptr;
        if (plan.form == multi_scale_reference) {
            task.reference = {plan.plain.data(), plan.scales.data(), plan.bias.data()};
        } else {
            task.room = scratch(room_of(map, task.rows, plan.at_once, plan.resized));
        }
        plan.form(task);
    });
}

}  // namespace mmcaf
