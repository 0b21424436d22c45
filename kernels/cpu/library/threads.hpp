// Threads of the library's own, for callers that bring none.

#pragma once

#include <cstdint>

#include "../parallel.hpp"

namespace mmcaf {

// With this many threads, the caller's among them. Fewer compute where the system has no more to give. What a task throws
// is thrown again to the caller once all threads have ended; tasks that had not begun are left out.
class Threads {
   public:
    explicit Threads(int64_t count) : count_(count) {}
    operator Parallel() { return {run, this}; }

   private:
    static void run(void *own, int tasks, Parallel::Call call, const void *task);
    int64_t count_;
};

}  // namespace mmcaf
