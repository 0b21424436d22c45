// The one kind of exception that a caller of the C functions hears of; they translate it into a code and mmcaf_last_error.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "mmcaf.h"

namespace mmcaf {

// What to do next: a sentence or its beginning, the option of this library that does it, what to give that, and a command
// line to run; each may be "".
struct Remedy {
    std::string text, option, value, command;
};

// Text in which nothing steers a terminal or reorders what it shows: spelled out as JSON does it, \u001b.
std::string escaped(std::string_view text);

// What went wrong, as mmcaf_engine/errors.py has it: what() is the problem, which says what was being done and on what,
// what came and what was expected, with numbers and units.
class Error : public std::runtime_error {
   public:
    Error(mmcaf_code code, std::string_view problem, std::vector<Remedy> remedies = {});

    const char *kind() const;    // such as StudyError
    std::string remedy() const;  // all of them in one paragraph; "" where nothing helps
    std::string json() const;    // kind, exit code, problem and remedies

    mmcaf_code code;
    std::string problem;
    std::vector<Remedy> remedies;
};

}  // namespace mmcaf
