// A result, put together from what each stage has left.

#pragma once

#include "answer.hpp"

namespace mmcaf {

// All fields of a result that follow from these; the others are the caller's.
void assemble(Result &result, const Manifest &manifest, const AnsweringFacts &facts, const Prepared &prepared,
              const StudyScore &score);

}  // namespace mmcaf
