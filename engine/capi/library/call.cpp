#include "call.hpp"

#include <exception>
#include <new>

namespace mmcaf {
namespace {

struct LastError {
    std::string kind, problem, remedy, json;
    mmcaf_error shown{MMCAF_OK, "", "", "", "{}"};

    void keep(const Error &failure) {
        kind = failure.kind();
        problem = failure.problem;
        remedy = failure.remedy();
        json = failure.json();
        shown = {failure.code, kind.c_str(), problem.c_str(), remedy.c_str(), json.c_str()};
    }
};

thread_local LastError last;

constexpr mmcaf_error NO_MEMORY{
    MMCAF_BACKEND, "BackendError", "There is not enough memory.", "Close other programs, or use a machine with more.",
    "{\"error\": \"BackendError\", \"exit_code\": 6, \"problem\": \"There is not enough memory.\", \"remedies\": []}"};

mmcaf_code kept(const Error &failure) {
    last.keep(failure);
    return failure.code;
}

}  // namespace

mmcaf_code called(const std::function<void()> &work) noexcept {
    try {
        try {
            work();
            return MMCAF_OK;
        } catch (const Error &failure) {
            return kept(failure);
        } catch (const std::bad_alloc &) {
            last.shown = NO_MEMORY;
            return MMCAF_BACKEND;
        } catch (const std::exception &) {
            // Its text is not shown: it may quote what the record or the study holds.
            return kept(Error(MMCAF_BUG, "A fault of this library ended the call.",
                              {{"Report it, with the bundle and how it was called.", "", "", ""}}));
        } catch (...) {
            return kept(Error(MMCAF_BUG, "A fault of this library ended the call, in code of others."));
        }
    } catch (...) {  // No memory to say what it was.
        last.shown = NO_MEMORY;
        return MMCAF_BACKEND;
    }
}

const mmcaf_error *last_error() noexcept { return &last.shown; }

void require(const void *pointer, const char *name) {
    if (pointer == nullptr) {
        throw Error(MMCAF_USAGE, std::string(name) + " is NULL.", {{"Hand over what mmcaf.h says.", "", "", ""}});
    }
}

}  // namespace mmcaf
