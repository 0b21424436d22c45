#include "max_pool.hpp"

#include <initializer_list>
#include <stdexcept>

#include "checks.hpp"
#include "features.hpp"
#include "max_pool_task.hpp"
#include "strips.hpp"

namespace mmcaf {
namespace {

using Form = void (*)(const PoolTask &);

Form chosen() {
    const Features &here = features();
    (void)here;
#if defined(MMCAF_WITH_AVX512)
    if (here.avx512) return pool_avx512;
#endif
#if defined(MMCAF_WITH_AVX2)
    if (here.avx2) return pool_avx2;
#endif
    return pool_reference;
}

int64_t count_of(int64_t length, const MaxPool::Options &options, int axis) {
    const int64_t padded = length + options.before[axis] + options.after[axis];
    return padded < options.kernel[axis] ? 0 : (padded - options.kernel[axis]) / options.strides[axis] + 1;
}

}  // namespace

struct MaxPool::Plan {
    Extent map, answer;
    Type type;
    Options options;
    Form form;
};

const char *MaxPool::unsupported(const Extent &map, Type type, const Options &options) {
    if (const char *reason = unsupported_map(map, {type, 1}, {type, 1})) return reason;
    for (int axis = 0; axis < 3; ++axis) {
        if (options.kernel[axis] < 1 || options.strides[axis] < 1) return "a kernel and a stride are positive";
        for (const int64_t pad : {options.before[axis], options.after[axis]}) {
            if (pad < 0 || pad >= options.kernel[axis]) return "a pad is not negative and less than the kernel";
        }
    }
    const Extent made = answer(map, options);
    return made.depth && made.height && made.width ? nullptr : "the kernel is larger than the padded map";
}

Extent MaxPool::answer(const Extent &map, const Options &options) {
    return {map.cases, count_of(map.depth, options, 0), count_of(map.height, options, 1), count_of(map.width, options, 2),
            map.channels};
}

MaxPool::MaxPool(const Extent &map, Type type, const Options &options) {
    if (const char *reason = unsupported(map, type, options)) throw std::invalid_argument(reason);
    plan_.reset(new Plan{map, answer(map, options), type, options, chosen()});
}

MaxPool::~MaxPool() = default;

void MaxPool::run(const void *x, void *y, const Parallel &parallel) const {
    const Plan &plan = *plan_;
    const Strips strips(plan.answer.height, plan.options.kernel[0] * plan.options.strides[1] * plan.map.width *
                                                plan.map.channels * static_cast<int64_t>(sizeof(float)));
    const Grid grid({plan.map.cases, plan.answer.depth, strips.count, 1});
    parallel(grid.tasks(), [&](int index) {
        const auto place = grid.place(index);
        PoolTask task{};
        task.x = x;
        task.y = y;
        task.map = plan.map;
        task.answer = plan.answer;
        task.type = plan.type;
        for (int axis = 0; axis < 3; ++axis) {
            task.kernel[axis] = plan.options.kernel[axis];
            task.strides[axis] = plan.options.strides[axis];
            task.pads[axis] = plan.options.before[axis];
        }
        task.n = place[0];
        task.plane = place[1];
        task.row = strips.first(place[2]);
        task.rows = strips.rows(place[2]);
        plan.form(task);
    });
}

}  // namespace mmcaf
