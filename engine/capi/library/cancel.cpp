#include "cancel.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

thread_local const Limits *current = nullptr;

}  // namespace

Limits::Limits(double seconds, std::function<bool(const char *, size_t, size_t)> progress)
    : seconds_(seconds), progress_(std::move(progress)) {
    if (!(seconds >= 0) || std::isinf(seconds)) {
        throw Error(MMCAF_USAGE,
                    "deadline_seconds: expected a number of seconds above 0, or 0 for none, got " + general(seconds) + ".");
    }
    if (seconds > 0) {
        const std::chrono::duration<double> time(std::min(seconds, 1e9));
        ends_ = std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(time);
    }
}

void Limits::check() const {
    if (!ends_ || std::chrono::steady_clock::now() < *ends_) return;
    throw Error(MMCAF_DEADLINE, "There was no answer within the deadline of " + general(seconds_) + " s.",
                {Remedy{"Allow more time for it", "deadline_seconds", {}, {}}});
}

void Limits::report(const char *stage, size_t done, size_t total) const {
    if (progress_ && !progress_(stage, done, total)) {
        throw Error(MMCAF_CANCELLED, "Cancelled by the caller before there was an answer.");
    }
    check();
}

Limited::Limited(const Limits *limits) : before_(current) { current = limits; }

Limited::~Limited() { current = before_; }

const Limits *limits_of_thread() { return current; }

void check_cancelled() {
    if (current != nullptr) current->check();
}

void report(const char *stage, size_t done, size_t total) {
    if (current != nullptr) current->report(stage, done, total);
}

}  // namespace mmcaf
