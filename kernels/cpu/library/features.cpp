#include "../features.hpp"

#include "export.hpp"

// In the words of MMCAF_CPU_FEATURES.
MMCAF_EXPORT const char *mmcaf_cpu_level() { return mmcaf::level_name(); }

MMCAF_EXPORT void mmcaf_cpu_allow(const char *level) { mmcaf::allow(level); }
