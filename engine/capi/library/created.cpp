#include "created.hpp"

#include <cstdint>
#include <cstdio>
#include <ctime>

#include "error.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

constexpr int first_year = 1900, end_year = 9999;

// What is left to be read of a text.
class Reader {
   public:
    explicit Reader(const std::string &text) : text_(text) {}

    bool done() const { return at_ == text_.size(); }
    char peek() const { return done() ? '\0' : text_[at_]; }

    bool take(char expected) {
        if (peek() != expected || done()) return false;
        ++at_;
        return true;
    }

    void skip_character() {
        do ++at_;
        while (!done() && (static_cast<unsigned char>(text_[at_]) & 0xc0) == 0x80);
    }

    // So many digits; nothing if there are fewer.
    std::optional<int> number(int digits) {
        int value = 0;
        for (int count = 0; count < digits; ++count) {
            if (peek() < '0' || peek() > '9') return {};
            value = value * 10 + (text_[at_++] - '0');
        }
        return value;
    }

    // Digits behind a point or comma, as millionths; what is finer is cut off.
    std::optional<int> fraction() {
        int value = 0, digits = 0;
        for (; peek() >= '0' && peek() <= '9'; ++digits, ++at_)
            if (digits < 6) value = value * 10 + (text_[at_] - '0');
        if (digits == 0) return {};
        for (; digits < 6; ++digits) value *= 10;
        return value;
    }

   private:
    const std::string &text_;
    size_t at_ = 0;
};

struct TimeOfDay {
    int64_t seconds = 0;
    int micros = 0;
};

// Hours alone, with minutes, or with seconds and their fraction.
std::optional<TimeOfDay> read_time(Reader &from) {
    const auto hours = from.number(2);
    if (!hours || *hours > 23) return {};
    TimeOfDay found{*hours * 3600, 0};
    const bool extended = from.peek() == ':';
    for (const int unit : {60, 1}) {
        if (extended ? !from.take(':') : from.peek() < '0' || from.peek() > '9') return found;
        const auto value = from.number(2);
        if (!value || *value > 59) return {};
        found.seconds += *value * unit;
    }
    if (from.take('.') || from.take(',')) {
        const auto micros = from.fraction();
        if (!micros) return {};
        found.micros = *micros;
    }
    return found;
}

struct Moment {
    int64_t seconds;  // since 1970 in UTC, where there is a time zone
    int micros;
    bool in_zone;
};

int days_in(int month, int year) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

std::optional<Moment> read_moment(const std::string &text) {
    Reader from(text);
    const auto year = from.number(4);
    const bool extended = from.take('-');
    const auto month = from.number(2);
    if (extended && !from.take('-')) return {};
    const auto day = from.number(2);
    if (!year || *year < 1 || !month || *month < 1 || *month > 12 || !day || *day < 1 || *day > days_in(*month, *year)) return {};
    std::tm date = {};
    date.tm_year = *year - 1900;
    date.tm_mon = *month - 1;
    date.tm_mday = *day;
    Moment found{static_cast<int64_t>(timegm(&date)), 0, false};
    if (from.done()) return found;
    from.skip_character();
    const auto time = read_time(from);
    if (!time) return {};
    found.seconds += time->seconds;
    found.micros = time->micros;
    if (from.done()) return found;
    found.in_zone = true;
    if (from.take('Z')) return from.done() ? std::optional(found) : std::nullopt;
    const int sign = from.peek() == '-' ? -1 : 1;
    if (!from.take('+') && !from.take('-')) return {};
    const auto offset = read_time(from);
    if (!offset || offset->micros != 0 || !from.done()) return {};
    found.seconds -= sign * offset->seconds;
    return found;
}

std::string written(const std::tm &date, int micros) {
    char text[64];
    std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d", date.tm_year + 1900, date.tm_mon + 1, date.tm_mday,
                  date.tm_hour, date.tm_min, date.tm_sec);
    std::string found = text;
    if (micros != 0) {
        std::snprintf(text, sizeof text, ".%06d", micros);
        found += text;
    }
    return found + "Z";
}

}  // namespace

std::string creation_time(const std::optional<std::string> &given) {
    const Remedy example{"For example", "created", "2026-11-30T09:08:48Z", ""};
    std::optional<Moment> moment = Moment{static_cast<int64_t>(std::time(nullptr)), 0, true};
    if (given) {
        moment = read_moment(*given);
        const std::string shown = beginning(*given, 60);
        if (!moment)
            throw Error(MMCAF_USAGE, "created: expected a date and time in ISO 8601, got " + shown + ".", {example});
        if (!moment->in_zone)
            throw Error(MMCAF_USAGE, "created: " + shown + " has no time zone; UTC, or an offset from it, is needed.", {example});
    }
    const std::time_t seconds = static_cast<std::time_t>(moment->seconds);
    std::tm date = {};
    gmtime_r(&seconds, &date);
    const int year = date.tm_year + 1900;
    if (year < first_year || year >= end_year)
        throw Error(MMCAF_USAGE,
                    "created: the year " + std::to_string(year) + " came; " + std::to_string(first_year) + " to " +
                        std::to_string(end_year - 1) +
                        " were expected, which every form of an answer can say in any time zone.",
                    {example});
    return written(date, moment->micros);
}

}  // namespace mmcaf
