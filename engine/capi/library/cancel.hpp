// What may end a call before there is an answer: its deadline, or its caller's progress callback.

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>

namespace mmcaf {

// Of one call. progress: told of what is done, on the thread that called; false ends the call.
class Limits {
   public:
    // seconds: 0 for no deadline. Error MMCAF_USAGE: they are not above 0.
    explicit Limits(double seconds, std::function<bool(const char *stage, size_t done, size_t total)> progress = {});

    void check() const;
    void report(const char *stage, size_t done, size_t total) const;

   private:
    double seconds_;
    std::optional<std::chrono::steady_clock::time_point> ends_;
    std::function<bool(const char *, size_t, size_t)> progress_;
};

// This thread works for a call with these limits, until the object ends; null is none.
class Limited {
   public:
    explicit Limited(const Limits *limits);
    ~Limited();
    Limited(const Limited &) = delete;
    Limited &operator=(const Limited &) = delete;

   private:
    const Limits *before_;
};

const Limits *limits_of_thread();

// Of this thread's limits, where it has any. Error MMCAF_DEADLINE: its time is over.
void check_cancelled();

// Error MMCAF_CANCELLED: the caller wants no answer any more; and as `check_cancelled`.
void report(const char *stage, size_t done, size_t total);

}  // namespace mmcaf
