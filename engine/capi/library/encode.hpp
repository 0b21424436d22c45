// One field of a record: from how it was written to the value, and the number that the network sees; as
// mmcaf_engine/record/encode.py has it.

#pragma once

#include "json.hpp"
#include "manifest.hpp"

namespace mmcaf {

// value: in the record's own terms. own: the number that a cut is compared with.
struct Encoded {
    RecordValue value;
    double feature = 0, own = 0;
};

// Throws UnusableValue: no category or number of this field.
Encoded encode(const TableField &field, const Json &raw);

// What JSON calls it.
std::string json_type(const Json &value);

// The condition in words, such as "age >= 60".
std::string condition(const TableField &field);

}  // namespace mmcaf
