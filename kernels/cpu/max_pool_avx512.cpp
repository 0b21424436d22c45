#include "lanes_avx512.hpp"
#include "max_pool_body.hpp"

namespace mmcaf {

void pool_avx512(const PoolTask &task) { pool_any(task); }

}  // namespace mmcaf
