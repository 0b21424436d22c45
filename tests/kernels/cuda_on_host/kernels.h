// The kernels of one CUDA source, as the emulator starts them.

#pragma once

#include <cstddef>

struct Kernel {
  const char* name;
  void (*run)(const void* const* values);  // a pointer to each argument, as cuLaunchKernel takes them
  size_t arguments;
  const size_t* sizes;  // of the arguments, in bytes
};
extern const Kernel KERNELS[];
extern const size_t KERNEL_COUNT;
