// Room for the intermediate values of one task, kept by each thread for its next task.

#pragma once

#include <cstddef>

namespace mmcaf {

// At least so many bytes, aligned to 64; valid until this thread's next call. Throws std::bad_alloc.
void *scratch(size_t bytes);

}  // namespace mmcaf
