// Which other files an ONNX model reads its weights from: found without loading it, whoever made it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

namespace mmcaf {

// Where a model's tensors say that their values lie; "" for a location of none. As external_locations of
// mmcaf_engine/bundle/external_data.py. Throws std::invalid_argument: it is no message, where it must be walked.
std::set<std::string> external_locations(const uint8_t *model, size_t size);

}  // namespace mmcaf
