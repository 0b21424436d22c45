// One task of the pooling kernel: some rows of one plane of y.

#pragma once

#include "max_pool.hpp"

namespace mmcaf {

struct PoolTask {
    const void *x;
    void *y;
    Extent map, answer;
    Type type;
    int64_t kernel[3], strides[3], pads[3];
    int64_t n, plane, row, rows;

    // The part of the window at `at` of y along an axis that lies within the `length` of x.
    void window(int axis, int64_t at, int64_t length, int64_t *from, int64_t *to) const {
        const int64_t first = at * strides[axis] - pads[axis], end = first + kernel[axis];
        *from = first > 0 ? first : 0;
        *to = end < length ? end : length;
    }
};

void pool_avx2(const PoolTask &task);
void pool_avx512(const PoolTask &task);
void pool_reference(const PoolTask &task);

}  // namespace mmcaf
