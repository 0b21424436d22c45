#include "grouped_convolution.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "aligned.hpp"
#include "checks.hpp"
#include "features.hpp"
#include "grouped_convolution_task.hpp"
#include "scratch.hpp"
#include "strips.hpp"

namespace mmcaf {
namespace {

static constexpr int64_t MOST_PLANES = 8;  // of x that are staged together

using Form = void (*)(const GroupedTask &);

// `exact`: whether the taps are values of bf16.
Form chosen(Type in, bool exact) {
    const Features &here = features();
    (void)here;
    (void)in;
    (void)exact;
#if defined(MMCAF_WITH_BF16)
    if (in == Type::bf16 && exact && here.bf16) return grouped_bf16;
#endif
#if defined(MMCAF_WITH_VNNI)
    if (in == Type::i8 && here.vnni) return grouped_vnni;
#endif
#if defined(MMCAF_WITH_AVX512)
    if (here.avx512) return grouped_avx512;
#endif
#if defined(MMCAF_WITH_AVX2)
    if (here.avx2) return grouped_avx2;
#endif
    return grouped_reference;
}

// Of what the form computes: i8, bf16 or f32.
Type computed_in(Form form) {
#if defined(MMCAF_WITH_BF16)
    if (form == grouped_bf16) return Type::bf16;
#endif
#if defined(MMCAF_WITH_VNNI)
    if (form == grouped_vnni) return Type::i8;
#endif
    (void)form;
    return Type::f32;
}

// [blocks, 27, group, 16]
Aligned<float> pack_floats(const float *taps, int64_t channels, int64_t group) {
    Aligned<float> packed(blocks_of(channels) * 27 * group * BLOCK);
    for (int64_t c = 0; c < channels; ++c) {
        float *to = packed.data() + c / BLOCK * 27 * group * BLOCK + c % BLOCK;
        for (int64_t k = 0; k < 27; ++k) {
            for (int64_t j = 0; j < group; ++j) to[(k * group + j) * BLOCK] = taps[(c * group + j) * 27 + k];
        }
    }
    return packed;
}

// [blocks, 27, group / 2, 16, 2]
Aligned<uint16_t> pack_pairs(const float *taps, int64_t channels, int64_t group) {
    Aligned<uint16_t> packed(blocks_of(channels) * 27 * group * BLOCK);
    for (int64_t c = 0; c < channels; ++c) {
        uint16_t *to = packed.data() + c / BLOCK * 27 * group * BLOCK;
        for (int64_t k = 0; k < 27; ++k) {
            for (int64_t j = 0; j < group; ++j) {
                const int64_t pair = (k * (group / 2) + j / 2) * BLOCK + c % BLOCK;
                to[pair * 2 + j % 2] = narrowed(taps[(c * group + j) * 27 + k]);
            }
        }
    }
    return packed;
}

int64_t block_bytes(int64_t group) { return 27 * group * BLOCK + 64; }

// Blocks of [27, group / 4, 16, 4], and [16] of four bytes: minus 128 times the sum of the taps.
Aligned<int8_t> pack_bytes(const float *taps, int64_t channels, int64_t group) {
    Aligned<int8_t> packed(blocks_of(channels) * block_bytes(group));
    for (int64_t c = 0; c < channels; ++c) {
        int8_t *to = packed.data() + c / BLOCK * block_bytes(group);
        int32_t sum = 0;
        for (int64_t k = 0; k < 27; ++k) {
            for (int64_t j = 0; j < group; ++j) {
                const int8_t tap = static_cast<int8_t>(taps[(c * group + j) * 27 + k]);
                to[((k * (group / 4) + j / 4) * BLOCK + c % BLOCK) * 4 + j % 4] = tap;
                sum += tap;
            }
        }
        reinterpret_cast<int32_t *>(to + 27 * group * BLOCK)[c % BLOCK] = -128 * sum;
    }
    return packed;
}

Aligned<float> pack_ends(const GroupedWeights &weights, int64_t channels, float step) {
    Aligned<float> packed(blocks_of(channels) * 2 * BLOCK);
    for (int64_t c = 0; c < channels; ++c) {
        float *to = packed.data() + c / BLOCK * 2 * BLOCK + c % BLOCK;
        to[0] = weights.scales[c] * step;
        to[BLOCK] = weights.bias[c];
    }
    return packed;
}

}  // namespace

struct GroupedConvolution::Plan {
    Extent map, answer;
    Stored in, out;
    Options options;
    Form form;
    Aligned<float> floats;
    Aligned<int8_t> bytes;
    Aligned<uint16_t> pairs;
    Aligned<float> ends;
    std::vector<float> taps, scales, bias;  // for the reference

    // Of the staged rows that so many rows and planes of y read.
    int64_t room(int64_t planes, int64_t rows) const {
        const Type type = computed_in(form);
        const int64_t value = type == Type::i8 ? 1 : type == Type::bf16 ? 2 : 4;
        return read_by(planes, options.stride) * read_by(rows, options.stride) * staged_columns(answer, options.stride) *
               BLOCK * value;
    }
};

const char *GroupedConvolution::unsupported(const Extent &map, Stored in, Stored out, const Options &options) {
    if (const char *reason = unsupported_map(map, in, out)) return reason;
    if (options.group != 4 && options.group != 8 && options.group != 16) return "groups are of 4, 8 or 16 channels";
    if (map.channels % options.group) return "the groups do not divide the channels";
    if (options.stride != 1 && options.stride != 2) return "the stride is 1 or 2";
    return options.lower <= options.upper ? nullptr : "the lower limit is above the upper one";
}

Extent GroupedConvolution::answer(const Extent &map, int64_t stride) {
    return {map.cases, (map.depth - 1) / stride + 1, (map.height - 1) / stride + 1, (map.width - 1) / stride + 1,
            map.channels};
}

GroupedConvolution::GroupedConvolution(const Extent &map, Stored in, Stored out, const Options &options,
                                       const GroupedWeights &weights) {
    if (const char *reason = unsupported(map, in, out, options)) throw std::invalid_argument(reason);
    const int64_t channels = map.channels, count = channels * options.group * 27;
    if (in.type == Type::i8 && !whole_numbers(weights.taps, count)) {
        throw std::invalid_argument("the taps of an i8 map must be whole numbers from -127 to 127");
    }
    const Form form = chosen(in.type, values_of_bf16(weights.taps, count));
    const bool reference = form == grouped_reference;
    const Type type = computed_in(form);
    const auto copy = [&](const float *from, int64_t values) {
        return reference ? std::vector<float>(from, from + values) : std::vector<float>();
    };
    plan_.reset(new Plan{map, answer(map, options.stride), in, out, options, form,
                         type == Type::f32 && !reference ? pack_floats(weights.taps, channels, options.group)
                                                         : Aligned<float>(),
                         type == Type::i8 ? pack_bytes(weights.taps, channels, options.group) : Aligned<int8_t>(),
                         type == Type::bf16 ? pack_pairs(weights.taps, channels, options.group) : Aligned<uint16_t>(),
                         pack_ends(weights, channels, in.type == Type::i8 ? in.step : 1.0f), copy(weights.taps, count),
                         copy(weights.scales, channels), copy(weights.bias, channels)});
}

GroupedConvolution::~GroupedConvolution() = default;

void GroupedConvolution::run(const void *x, void *y, const Parallel &parallel) const {
    const Plan &plan = *plan_;
    const int64_t group = plan.options.group, stride = plan.options.stride;
    const int64_t tile = std::min(plan.answer.depth, (MOST_PLANES - 3) / stride + 1);
    const int64_t tiles = (plan.answer.depth + tile - 1) / tile;
    const Strips strips(plan.answer.height, plan.room(tile, 2) - plan.room(tile, 1));
    const Grid grid({plan.map.cases, strips.count, tiles, blocks_of(plan.map.channels)});
    parallel(grid.tasks(), [&](int index) {
        const auto place = grid.place(index);
        GroupedTask task{};
        task.x = x;
        task.y = y;
        task.map = plan.map;
        task.answer = plan.answer;
        task.in = plan.in;
        task.out = plan.out;
        task.options = plan.options;
        task.n = place[0];
        task.channel = place[3] * BLOCK;
        task.plane = place[2] * tile;
        task.planes = std::min(tile, plan.answer.depth - task.plane);
        task.row = strips.first(place[1]);
        task.rows = strips.rows(place[1]);
        task.ends = plan.ends.data() + place[3] * 2 * BLOCK;
        if (plan.form == grouped_reference) {
            task.reference = {plan.taps.data(), plan.scales.data(), plan.bias.data()};
        } else {
            task.taps = plan.floats.data() + place[3] * 27 * group * BLOCK;
            task.pairs = plan.pairs.data() + place[3] * 27 * group * BLOCK;
            task.bytes = plan.bytes.data() + place[3] * block_bytes(group);
            task.room = scratch(plan.room(task.planes, task.rows));
        }
        plan.form(task);
    });
}

}  // namespace mmcaf
