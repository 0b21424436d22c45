#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace mmcaf {

void Threads::run(void *own, int tasks, Parallel::Call call, const void *task) {
    std::atomic<int> next{0};
    std::atomic<bool> failed{false};
    std::exception_ptr failure;
    const auto work = [&] {
        try {
            for (int index; (index = next.fetch_add(1)) < tasks;) call(task, index);
        } catch (...) {
            if (!failed.exchange(true)) failure = std::current_exception();
            next.store(tasks);
        }
    };
    std::vector<std::thread> others;
    const int64_t wanted = std::min<int64_t>(static_cast<Threads *>(own)->count_, tasks) - 1;
    try {
        while (static_cast<int64_t>(others.size()) < wanted) others.emplace_back(work);
    } catch (const std::system_error &) {
        // The system has no more threads to give.
    } catch (const std::bad_alloc &) {
        // Nor memory for one.
    }
    work();
    for (std::thread &other : others) other.join();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace mmcaf
