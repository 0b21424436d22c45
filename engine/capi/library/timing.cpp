#include "timing.hpp"

#include <algorithm>
#include <cmath>

namespace mmcaf {

namespace {

constexpr const char *stages[] = {"read", "geometry", "record", "decode", "preprocess", "copy_in", "infer", "copy_out", "aggregate"};

// To microseconds, as results give them.
double rounded(double milliseconds) {
    return std::round(milliseconds * 1e3) / 1e3;
}

}  // namespace

Stopwatch::Span::Span(Stopwatch &watch, const char *stage)
    : watch_(watch), stage_(stage), around_(watch.innermost_), began_ms_(watch.now_ms()) {
    watch.innermost_ = this;
}

Stopwatch::Span::~Span() {
    const double whole = watch_.now_ms() - began_ms_;
    watch_.innermost_ = around_;
    if (around_ != nullptr) around_->inside_ms_ += whole;
    auto &spent = watch_.spent_ms_;
    const auto found = std::find_if(spent.begin(), spent.end(), [&](const auto &one) { return one.first == stage_; });
    const double own = whole - inside_ms_;
    if (found == spent.end())
        spent.emplace_back(stage_, own);
    else
        found->second += own;
}

std::vector<std::pair<std::string, double>> Stopwatch::stages_ms() const {
    std::vector<std::pair<std::string, double>> found;
    for (const char *stage : stages)
        for (const auto &[name, spent] : spent_ms_)
            if (name == stage) found.emplace_back(name, rounded(spent));
    found.emplace_back("total", rounded(now_ms()));
    return found;
}

}  // namespace mmcaf
