// A function that Python may call.

#pragma once

#define MMCAF_EXPORT extern "C" __attribute__((visibility("default")))
