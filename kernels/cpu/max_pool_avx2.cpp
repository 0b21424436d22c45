#include "lanes_avx2.hpp"
#include "max_pool_body.hpp"

namespace mmcaf {

void pool_avx2(const PoolTask &task) { pool_any(task); }

}  // namespace mmcaf
