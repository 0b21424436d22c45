#include "features.hpp"

#include <cstdlib>
#include <cstring>

namespace mmcaf {
namespace {

const char *const NAMES[] = {"reference", "avx2", "avx512", "vnni", "bf16"};

Level highest(const char *limit) {
    if (!limit || !*limit) return Level::bf16;
    for (int level = 0; level < 5; ++level) {
        if (!std::strcmp(limit, NAMES[level])) return static_cast<Level>(level);
    }
    return Level::reference;
}

Features found(Level allowed) {
    Features here;
#if defined(__x86_64__)
    __builtin_cpu_init();
#if defined(MMCAF_WITH_AVX2)
    here.avx2 = allowed >= Level::avx2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#if defined(MMCAF_WITH_AVX512)
    here.avx512 = here.avx2 && allowed >= Level::avx512 && __builtin_cpu_supports("avx512f") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
#if defined(MMCAF_WITH_VNNI)
    here.vnni = here.avx512 && allowed >= Level::vnni && __builtin_cpu_supports("avx512vnni");
#endif
#if defined(MMCAF_WITH_BF16)
    here.bf16 = here.vnni && allowed >= Level::bf16 && __builtin_cpu_supports("avx512bf16");
#endif
#elif defined(__aarch64__)
    here.neon = allowed > Level::reference;
#else
    (void)allowed;
#endif
    return here;
}

Features &here() {
    static Features known = found(highest(std::getenv("MMCAF_CPU_FEATURES")));
    return known;
}

}  // namespace

const Features &features() { return here(); }

void allow(const char *level) { here() = found(highest(level ? level : std::getenv("MMCAF_CPU_FEATURES"))); }

const char *level_name() {
    const Features &own = features();
    if (own.neon) return "neon";
    return NAMES[own.bf16 ? 4 : own.vnni ? 3 : own.avx512 ? 2 : own.avx2 ? 1 : 0];
}

}  // namespace mmcaf
