// Answers one study again and again in several threads, with wrong calls in between, and says how much memory that took.
//
//     stress BUNDLE CACHE STUDY.raw SLICES ROWS COLUMNS RECORD.json ANSWERS THREADS
//
// It ends with 0 if every answer had the bits of the first and every wrong call its code. Without a sanitizer, it also
// looks whether memory grew after the first tenth of the answers. A number of answers of 0 opens the network, and no more.

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "mmcaf.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// oneTBB loads a part of its own apart from all other libraries, which the sanitizers' runtime refuses.
extern "C" __attribute__((visibility("default"))) void *dlopen(const char *name, int flags) {
    static const auto next = reinterpret_cast<void *(*)(const char *, int)>(dlsym(RTLD_NEXT, "dlopen"));
    return next(name, flags & ~RTLD_DEEPBIND);
}
#endif

namespace {

constexpr double MOST_GROWTH_MIB = 8;  // of an allocator that keeps what its threads gave back

double resident_mib() {
    std::ifstream file("/proc/self/statm");
    long pages = 0, resident = 0;
    file >> pages >> resident;
    return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

std::string content(const char *path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

struct Study {
    mmcaf_volume volume;
    std::string record;
};

std::atomic<int> faults{0};

void fault(const char *what) {
    std::fprintf(stderr, "%s: %s\n", what, mmcaf_last_error()->problem);
    ++faults;
}

double answered(mmcaf_network *network, const Study &study) {
    mmcaf_result *result = nullptr;
    mmcaf_answer_options options;
    mmcaf_answer_options_default(&options);
    options.patient_id = "stress";
    options.allow_id_mismatch = 1;
    if (mmcaf_answer_volume(network, &study.volume, study.record.c_str(), &options, &result) != MMCAF_OK) {
        fault("no answer");
        return NAN;
    }
    const double probability = mmcaf_result_probability(result, 0);
    if (std::strlen(mmcaf_result_json(result)) == 0) fault("no JSON");
    mmcaf_free_result(result);
    return probability;
}

int cancelled(void *, const char *, size_t, size_t) { return 1; }

void called_wrongly(mmcaf_network *network, const Study &study) {
    mmcaf_result *result = nullptr;
    const auto expect = [&](mmcaf_code code, mmcaf_code wanted) {
        if (code != wanted || result != nullptr || *mmcaf_last_error()->problem == '\0') fault("another code");
    };
    expect(mmcaf_answer_volume(nullptr, &study.volume, study.record.c_str(), nullptr, &result), MMCAF_USAGE);
    expect(mmcaf_answer_volume(network, nullptr, study.record.c_str(), nullptr, &result), MMCAF_USAGE);
    expect(mmcaf_answer_volume(network, &study.volume, "{", nullptr, &result), MMCAF_RECORD);
    mmcaf_volume flat = study.volume;
    flat.shape[1] = 0;
    expect(mmcaf_answer_volume(network, &flat, study.record.c_str(), nullptr, &result), MMCAF_STUDY);
    mmcaf_answer_options options;
    mmcaf_answer_options_default(&options);
    options.progress = cancelled;
    expect(mmcaf_answer_volume(network, &study.volume, study.record.c_str(), &options, &result), MMCAF_CANCELLED);
}

}  // namespace

int main(int count, char **given) {
    if (count != 10) {
        std::fprintf(stderr, "usage: stress BUNDLE CACHE STUDY.raw SLICES ROWS COLUMNS RECORD.json ANSWERS THREADS\n");
        return 2;
    }
    const std::string values = content(given[3]);
    Study study{{}, content(given[7])};
    mmcaf_volume_default(&study.volume);
    study.volume.values = values.data();
    size_t bytes = 2;
    for (size_t axis = 0; axis < 3; ++axis) {
        study.volume.shape[axis] = std::strtoul(given[4 + axis], nullptr, 10);
        study.volume.spacing_mm[axis] = axis == 0 ? 2.5 : 1.0;
        bytes *= study.volume.shape[axis];
    }
    if (bytes != values.size()) {
        std::fprintf(stderr, "%s: %zu bytes, expected %zu\n", given[3], values.size(), bytes);
        return 2;
    }
    mmcaf_open_options opening;
    mmcaf_open_options_default(&opening);
    opening.cache = given[2];
    mmcaf_network *network = nullptr;
    if (mmcaf_open(given[1], &opening, &network) != MMCAF_OK) {
        fault("not opened");
        return 1;
    }
    const int answers = std::atoi(given[8]), threads = std::atoi(given[9]);
    const double first = answers > 0 ? answered(network, study) : 0;
    std::atomic<int> left{answers}, done{0};
    std::atomic<double> before{0};
    std::vector<std::thread> workers;
    for (int at = 0; at < threads; ++at) {
        workers.emplace_back([&] {
            while (left-- > 0) {
                if (answered(network, study) != first) fault("other bits");
                const int now = ++done;
                if (now % 16 == 0) called_wrongly(network, study);
                if (now == answers / 10) before = resident_mib();
            }
        });
    }
    for (std::thread &worker : workers) worker.join();
    const double after = resident_mib();
    mmcaf_free_network(network);
    mmcaf_result *result = nullptr;
    if (answers > 0 && mmcaf_answer_volume(network, &study.volume, study.record.c_str(), nullptr, &result) != MMCAF_USAGE)
        fault("a closed network answered");
    std::printf("answers %d threads %d probability %.17g memory_mib %.1f then %.1f\n", answers, threads, first, before.load(), after);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (answers >= 100 && after > before + MOST_GROWTH_MIB) fault("memory grew");
#endif
    return faults == 0 ? 0 : 1;
}
