// What a caller hands over in the structs of mmcaf.h, in the library's own types, looked at as far as its form goes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "answer.hpp"
#include "cancel.hpp"
#include "prepare.hpp"
#include "runner.hpp"

namespace mmcaf {

// Each throws Error MMCAF_USAGE: a struct was not filled by its default function or is of another size, a pointer is NULL, or
// a value is none of those that are allowed.

struct Opened {
    RunnerOptions runner;
    std::optional<std::string> trusted_key;
    Limits limits;
};

// A text of the caller; empty where it is NULL. Throws Error MMCAF_USAGE: it is no UTF-8, or holds control characters.
std::string text_given(const char *given, const std::string &name);

Opened opening_given(const mmcaf_open_options *options);

// What is asked for of one answer.
struct Answering {
    StudyHeader header;
    std::vector<SourceImage> instances;
    std::string series_uid;
    std::optional<std::vector<int64_t>> tokens;
    Asked asked;
    AnswerGiven given;
    Limits limits;
};

Answering answering_given(const mmcaf_answer_options *options);

// next: where the slices come one by one, with values NULL; else NULL.
Volume volume_given(const mmcaf_volume *volume, mmcaf_slice_function next, void *user);

// An array, whose elements lie as far apart as the first of them says.
std::vector<Volume> volumes_given(const mmcaf_volume *volumes, size_t count);

Tensor tensor_given(const mmcaf_tensor &tensor);

}  // namespace mmcaf
