#include "slice_workers.hpp"

#include <algorithm>
#include <thread>

#include "cancel.hpp"

namespace mmcaf {

void SliceWorkers::run(std::function<void()> job) {
    static const size_t most = std::min(std::max(std::thread::hardware_concurrency(), 1u), 4u);
    if (running_.size() >= most) wait_for_first();
    running_.push_back(std::async(std::launch::async, [job = std::move(job), limits = limits_of_thread()] {
        const Limited limited(limits);
        check_cancelled();
        job();
    }));
}

void SliceWorkers::finish() {
    while (!running_.empty()) wait_for_first();
}

void SliceWorkers::wait_for_first() {
    std::future<void> first = std::move(running_.front());
    running_.pop_front();
    first.get();
}

}  // namespace mmcaf
