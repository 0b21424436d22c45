// How a kernel hands out its work, whoever owns the threads: OpenVINO's plug-in, or the library.

#pragma once

#include <memory>
#include <type_traits>

namespace mmcaf {

// Runs task(0) to task(tasks - 1), each once, in any order and on any thread, and returns after the last.
//
// How a kernel cuts its work into tasks, and in which order it sums, follows from shapes alone, never from the number of
// threads: so the bits of an answer are the same for any.
struct Parallel {
    using Call = void (*)(const void *task, int index);
    void (*run)(void *threads, int tasks, Call call, const void *task);
    void *threads;

    template <class Task> void operator()(int tasks, const Task &task) const {
        if (tasks == 1) {
            task(0);
        } else if (tasks > 1) {
            run(threads, tasks, [](const void *own, int index) { (*static_cast<const Task *>(own))(index); },
                std::addressof(task));
        }
    }
};

}  // namespace mmcaf
