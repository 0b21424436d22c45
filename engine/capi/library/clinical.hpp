// What a network reads beside the images: the record's table and the report's tokens, made ready; and whether they are of
// the study's patient. As mmcaf_engine/record has it.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "record.hpp"
#include "volume.hpp"

namespace mmcaf {

// A report as a network reads it: numbers of [CLS], the word pieces, [SEP] and [PAD], 1 in the mask where there is one of the
// report. kept: word pieces of it. unknown: of these, [UNK].
struct Tokens {
    std::vector<int64_t> ids, mask;
    size_t kept = 0, unknown = 0;
};

// Numbers of the special pieces of a vocabulary, and how many pieces it has.
struct Vocabulary {
    int64_t start = 0, end = 0, padding = 0, unknown = 0;
    int64_t size = 0;
};

// identity: matched, not_compared or overridden. sha256: of the record's bytes.
struct Clinical {
    std::optional<Record> record;
    std::optional<Tokens> text;
    std::vector<std::string> warnings, remarks;
    std::string identity = "not_compared";
    std::optional<std::string> sha256;
};

// Of a WordPiece vocabulary, one piece on each line.
//
// Error MMCAF_BUNDLE: a piece is there twice, or a special one is not.
Vocabulary read_vocabulary(std::string_view content, const std::string &name);

// Reads the record, and compares it with the study's header.
//
// tokens: numbers of the report's word pieces between [CLS] and [SEP], these included; of a network that reads text, which
// has a `vocabulary`.
//
// Error MMCAF_RECORD: it is refused, or is of another patient, or of nobody where the manifest requires to know; a record
// or tokens that the network does not read, or that it needs and are not there. Error MMCAF_STUDY: the study is of nobody,
// where the manifest requires to know. Error MMCAF_USAGE: tokens that are none of the vocabulary.
Clinical read_clinical(const std::optional<std::string> &record_json, const std::optional<std::vector<int64_t>> &tokens,
                       const Manifest &manifest, const Vocabulary *vocabulary, const PatientHeader &patient,
                       bool allow_id_mismatch);

// Error MMCAF_STUDY: what a caller says of a patient is no sex, age or weight. A blank id is none.
PatientHeader checked(PatientHeader patient, const std::string &name);

// Error MMCAF_RECORD: the record or tokens that were given are not what the network reads; before anything is read.
void expect_clinical(bool has_record, bool has_tokens, const Manifest &manifest);

}  // namespace mmcaf
