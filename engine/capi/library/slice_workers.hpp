// Work on the slices of a study in a few threads, on whose number no bit depends.

#pragma once

#include <deque>
#include <functional>
#include <future>

namespace mmcaf {

// Jobs run beside the thread that gives them, with its limits; an error of one is thrown by a later call, the first first.
class SliceWorkers {
   public:
    void run(std::function<void()> job);  // waits while all threads are busy
    void finish();                        // waits for all

   private:
    void wait_for_first();

    std::deque<std::future<void>> running_;
};

}  // namespace mmcaf
