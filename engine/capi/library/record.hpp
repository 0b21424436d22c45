// The clinical record: JSON in, validated and scaled features out; as mmcaf_engine/record has it.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "manifest.hpp"
#include "slices.hpp"

namespace mmcaf {

constexpr size_t kMostRecordBytes = 64 * 1024 * 1024;

// A validated record.
//
// values: field -> category or number, in the record's own terms. features: field -> the scaled number that the network
// sees. cuts: a cut's condition -> 1 where it holds. missing: fields that were absent and imputed. lesion: the slices of the
// lesion, where it names any.
struct Record {
    Named<RecordValue> values;
    Named<double> features, cuts;
    std::vector<std::string> missing, warnings, remarks, patient_ids;
    std::optional<NamedSlices> lesion;

    std::vector<float> table() const;  // features and cuts
};

// Error MMCAF_RECORD: not JSON, not an object, FHIR or a table, which this library does not read; or any field missing,
// unknown in its category, not a finite number, or outside its plausible range: one error names every such field.
Record read_record(std::string_view json, const Manifest &manifest);

// A number as Python writes it in a sentence: 60.0.
std::string in_words(const RecordValue &value);

}  // namespace mmcaf
