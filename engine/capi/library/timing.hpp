// Time spent on each stage of one answer, by the thread that answers.

#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace mmcaf {

class Stopwatch {
   public:
    // From its making to its end, a stretch of one stage, without those of stages inside it.
    class Span {
       public:
        Span(Stopwatch &watch, const char *stage);
        Span(const Span &) = delete;
        Span &operator=(const Span &) = delete;
        ~Span();

       private:
        Stopwatch &watch_;
        const char *stage_;
        Span *around_;
        double began_ms_, inside_ms_ = 0.0;
    };

    [[nodiscard]] Span span(const char *stage) { return Span(*this, stage); }

    // Milliseconds by stage, in the order in which results have them; total, the last, is wall time until now.
    std::vector<std::pair<std::string, double>> stages_ms() const;

   private:
    using Clock = std::chrono::steady_clock;

    double now_ms() const { return std::chrono::duration<double, std::milli>(Clock::now() - started_).count(); }

    Clock::time_point started_ = Clock::now();
    std::vector<std::pair<std::string, double>> spent_ms_;
    Span *innermost_ = nullptr;
};

}  // namespace mmcaf
