#include "../max_pool.hpp"

#include "calls.hpp"

using namespace mmcaf;

// options: kernel, strides, pads before and pads after, three numbers each.
MMCAF_EXPORT void *mmcaf_max_pool(const int64_t *map, const int32_t *types, const float *, const int64_t *options,
                                  char *reason) {
    return made<MaxPool>(reason, [&] {
        const auto three = [&](int at) {
            return std::array<int64_t, 3>{options[at], options[at + 1], options[at + 2]};
        };
        return new MaxPool(extent_of(map), static_cast<Type>(types[0]), {three(0), three(3), three(6), three(9)});
    });
}

MMCAF_EXPORT int32_t mmcaf_max_pool_run(const void *kernel, const void *x, void *y, int64_t threads) {
    return ran([&] { static_cast<const MaxPool *>(kernel)->run(x, y, Threads(threads)); });
}

MMCAF_EXPORT void mmcaf_max_pool_free(void *kernel) { delete static_cast<MaxPool *>(kernel); }
