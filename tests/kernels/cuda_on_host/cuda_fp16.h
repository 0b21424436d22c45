#pragma once

#include "cuda_sixteen_bits.h"
