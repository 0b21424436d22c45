#include "processor.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include <sys/utsname.h>
#ifdef __linux__
#include <sched.h>
#endif

namespace mmcaf {
namespace {

const char *const VECTOR_PREFIXES[] = {"sse4", "avx", "amx", "fma", "f16c", "asimd", "fphp", "bf16", "i8mm", "sve", "sme"};
const char *const IDENTITY[] = {"model name", "cpu family", "model", "stepping", "CPU part"};

std::string stripped(const std::string &text) {
    const char *const blanks = " \t\r\n\v\f";
    const size_t begin = text.find_first_not_of(blanks);
    return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

bool is_vector(const std::string &flag) {
    return std::any_of(std::begin(VECTOR_PREFIXES), std::end(VECTOR_PREFIXES),
                       [&](const std::string prefix) { return flag.compare(0, prefix.size(), prefix) == 0; });
}

Processor read() {
    std::ifstream stream("/proc/cpuinfo");
    if (!stream) return {operating_system().machine, {}};
    std::map<std::string, std::string> facts;
    for (std::string line; std::getline(stream, line);) {
        const size_t colon = line.find(':');
        if (colon == std::string::npos) break;  // The cores that follow are the same.
        facts[stripped(line.substr(0, colon))] = stripped(line.substr(colon + 1));
    }
    Processor found;
    for (const char *key : IDENTITY) {
        if (facts[key].empty()) continue;
        found.name += (found.name.empty() ? "" : " ") + facts[key];
    }
    std::istringstream flags(facts[facts.count("flags") ? "flags" : "Features"]);
    for (std::string flag; flags >> flag;) {
        if (is_vector(flag)) found.instructions.push_back(flag);
    }
    std::sort(found.instructions.begin(), found.instructions.end());
    return found;
}

}  // namespace

const Processor &processor() {
    static const Processor found = read();
    return found;
}

int usable_cores() {
#ifdef __linux__
    for (int most = 1024; most <= 1 << 20; most *= 2) {  // A machine may have more than a cpu_set_t holds.
        const size_t bytes = CPU_ALLOC_SIZE(most);
        cpu_set_t *cores = CPU_ALLOC(most);
        if (cores == nullptr) break;
        const bool told = sched_getaffinity(0, bytes, cores) == 0;
        const int count = told ? CPU_COUNT_S(bytes, cores) : 0;
        CPU_FREE(cores);
        if (told) return count;
    }
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

System operating_system() {
    utsname found{};
    if (uname(&found) != 0) return {};
    return {found.sysname, found.release, found.machine};
}

}  // namespace mmcaf
