// libFuzzer's entry (llvm.org/docs/LibFuzzer.html): one program for each function of tests/capi/native/fuzz.cpp.

#include <cstddef>
#include <cstdint>

extern "C" int MMCAF_FUZZED(const uint8_t *data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return MMCAF_FUZZED(data, size); }
