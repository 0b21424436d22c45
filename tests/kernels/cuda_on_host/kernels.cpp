// Compile it with MMCAF_SOURCE, the CUDA source's path in quotes, and MMCAF_KERNELS, such as KERNEL(one) KERNEL(two).

#include "kernels.h"

#include <iterator>
#include <type_traits>
#include <utility>

#include MMCAF_SOURCE

template <auto>
struct Started;

template <typename... Parameters, void (*kernel)(Parameters...)>
struct Started<kernel> {
  static constexpr size_t sizes[] = {sizeof(Parameters)...};
  static void run(const void* const* values) { pass(values, std::index_sequence_for<Parameters...>()); }

 private:
  template <size_t... Places>
  static void pass(const void* const* values, std::index_sequence<Places...>) {
    kernel(*static_cast<const std::remove_cv_t<Parameters>*>(values[Places])...);
  }
};

#define KERNEL(NAME) {#NAME, Started<NAME>::run, std::size(Started<NAME>::sizes), Started<NAME>::sizes},
const Kernel KERNELS[] = {MMCAF_KERNELS};
const size_t KERNEL_COUNT = std::size(KERNELS);
