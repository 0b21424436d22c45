#include "clinical.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "digest.hpp"
#include "error.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

constexpr double kAgeTolerance = 1.0;     // years: a birthday between the record and the study is no contradiction
constexpr double kWeightTolerance = 0.1;  // as a share of the header's
constexpr double kMostUnknown = 0.25;

struct Compared {
    std::string identity = "not_compared";
    std::vector<std::string> warnings, remarks;
};

[[noreturn]] void refuse(mmcaf_code code, const std::string &problem, const std::string &remedy,
                         const std::string &option = {}) {
    throw Error(code, problem, {Remedy{remedy, option, {}, {}}});
}

Compared compare_known(const std::string &known, const std::vector<std::string> &ids, bool allow_id_mismatch) {
    if (std::find(ids.begin(), ids.end(), strip(known)) != ids.end()) return {"matched", {}, {}};
    if (allow_id_mismatch) {
        return {"overridden", {"the record's patient_id differs from the study's; accepted as asked."}, {}};
    }
    refuse(MMCAF_RECORD,
           "The record's patient_id differs from the study's PatientID (0010,0020): record and study belong to different "
           "patients.",
           "Pair the right files; if the identifiers differ for a known reason, accept that", "allow_id_mismatch");
}

// No message holds an identifier.
Compared compare_identity(const std::vector<std::string> &ids, const Manifest &manifest, const PatientHeader &patient,
                          bool allow_id_mismatch) {
    if (!ids.empty() && patient.patient_id) return compare_known(*patient.patient_id, ids, allow_id_mismatch);
    const bool reads_record = manifest.table || manifest.text, reads_study = !manifest.modalities().empty();
    const bool no_study = !patient.patient_id && reads_study, no_record = reads_record && ids.empty();
    if (manifest.identity_required && (no_study || no_record)) {
        if (allow_id_mismatch) {
            const std::string both = no_study && no_record ? "the study and the record do"
                                     : no_study            ? "the study does"
                                                           : "the record does";
            return {"overridden",
                    {both + " not say whose it is, which " + manifest.name + " requires; accepted as asked."},
                    {}};
        }
        if (no_study) {
            refuse(MMCAF_STUDY,
                   "The study has no PatientID (0010,0020); " + manifest.name + " answers only where it says whose it is.",
                   "Send it with its patient's ID, or accept that", "allow_id_mismatch");
        }
        refuse(MMCAF_RECORD,
               "The record has no patient_id; " + manifest.name + " answers only where it says whose it is.",
               "Add patient_id, the study's PatientID (0010,0020), or accept that", "allow_id_mismatch");
    }
    Compared found;
    if (!reads_record || !reads_study) return found;
    if (no_study) found.remarks.push_back("the study has no PatientID (0010,0020); nothing ties the record to it.");
    if (no_record) found.remarks.push_back("the record has no patient_id; nothing ties it to the study.");
    return found;
}

bool contradicts(const TableField &field, const RecordValue &value, const PatientHeader &patient) {
    const auto *number = std::get_if<double>(&value);
    if (field.dicom == "PatientSex") {
        return patient.sex && (number != nullptr || std::get<std::string>(value) != *patient.sex);
    }
    if (number == nullptr) return false;
    if (field.dicom == "PatientAge") return patient.age && std::abs(*number - *patient.age) > kAgeTolerance;
    return patient.weight && std::abs(*number - *patient.weight) > kWeightTolerance * *patient.weight;
}

// Warnings, which name no value.
std::vector<std::string> contradictions(const Record &record, const Manifest &manifest, const PatientHeader &patient) {
    std::vector<std::string> warnings;
    if (!manifest.table) return warnings;
    for (const TableField &field : manifest.table->fields) {
        const bool missing =
            std::find(record.missing.begin(), record.missing.end(), field.name) != record.missing.end();
        if (field.dicom.empty() || missing) continue;
        if (contradicts(field, *find(record.values, field.name), patient)) {
            warnings.push_back("the record's " + field.name + " contradicts the study's " + field.dicom + ".");
        }
    }
    return warnings;
}

Tokens padded(const std::vector<int64_t> &given, const TextSpec &spec, const Vocabulary &vocabulary) {
    for (const int64_t id : given) {
        if (id >= 0 && id < vocabulary.size) continue;
        refuse(MMCAF_USAGE,
               "tokens: " + std::to_string(id) + " came; the bundle's vocabulary has the numbers 0 to " +
                   std::to_string(vocabulary.size - 1) + ".",
               "Tokenise the report with the bundle's own vocabulary.");
    }
    if (given.size() < 2 || given.front() != vocabulary.start || given.back() != vocabulary.end) {
        refuse(MMCAF_USAGE,
               "tokens: they begin with [CLS], " + std::to_string(vocabulary.start) + ", and end with [SEP], " +
                   std::to_string(vocabulary.end) + ", of the bundle's vocabulary.",
               "Give these around the numbers of the report's word pieces, and no padding.");
    }
    if (given.size() > static_cast<size_t>(spec.max_tokens)) {
        refuse(MMCAF_USAGE,
               "tokens: " + std::to_string(given.size()) + " came; the network reads " +
                   std::to_string(spec.max_tokens) + ", [CLS] and [SEP] among them.",
               "Leave out word pieces at the report's end, as the command line does.");
    }
    Tokens tokens{given, std::vector<int64_t>(given.size(), 1), given.size() - 2, 0};
    tokens.unknown = static_cast<size_t>(std::count(given.begin() + 1, given.end() - 1, vocabulary.unknown));
    const int64_t length = *std::find_if(spec.buckets.begin(), spec.buckets.end(), [&](int64_t bucket) {
        return static_cast<size_t>(bucket) >= given.size();
    });
    tokens.ids.resize(static_cast<size_t>(length), vocabulary.padding);
    tokens.mask.resize(static_cast<size_t>(length), 0);
    return tokens;
}

void read_tokens(Clinical &clinical, const std::optional<std::vector<int64_t>> &given, const Manifest &manifest,
                 const Vocabulary &vocabulary) {
    const std::vector<int64_t> none{vocabulary.start, vocabulary.end};
    clinical.text = padded(given.value_or(none), *manifest.text, vocabulary);
    if (clinical.text->kept == 0) {
        const std::string what = given ? "holds no word" : "is not in the record";
        if (manifest.text->refuse_missing) {
            refuse(MMCAF_RECORD, "The report " + what + "; " + manifest.name + " does not answer without one.",
                   "Give the numbers of its word pieces", "tokens");
        }
        clinical.warnings.push_back("the report " + what + "; the network answered without one.");
    } else if (static_cast<double>(clinical.text->unknown) > kMostUnknown * static_cast<double>(clinical.text->kept)) {
        clinical.warnings.push_back(std::to_string(clinical.text->unknown) + " of " +
                                    std::to_string(clinical.text->kept) +
                                    " report tokens are unknown to the network; the report may be in another language.");
    }
}

}  // namespace

Vocabulary read_vocabulary(std::string_view content, const std::string &name) {
    std::unordered_map<std::string_view, int64_t> numbers;
    if (!content.empty() && content.back() == '\n') content.remove_suffix(1);
    Vocabulary found;
    for (size_t at = 0; at <= content.size(); ++found.size) {
        const size_t end = std::min(content.find('\n', at), content.size());
        std::string_view piece = content.substr(at, end - at);
        if (!piece.empty() && piece.back() == '\r') piece.remove_suffix(1);
        const auto [known, added] = numbers.emplace(piece, found.size);
        if (!added) {
            refuse(MMCAF_BUNDLE,
                   name + ": lines " + std::to_string(known->second + 1) + " and " + std::to_string(found.size + 1) +
                       " hold the same word piece.",
                   "Take the vocabulary that the network was trained with.");
        }
        at = end + 1;
    }
    std::vector<std::string> lacking;
    const auto number = [&](const char *piece) {
        const auto known = numbers.find(piece);
        if (known == numbers.end()) lacking.emplace_back(piece);
        return known == numbers.end() ? 0 : known->second;
    };
    found.padding = number("[PAD]");
    found.unknown = number("[UNK]");
    found.start = number("[CLS]");
    found.end = number("[SEP]");
    if (!lacking.empty()) {
        refuse(MMCAF_BUNDLE,
               name + ": " + std::to_string(found.size) + " lines without " + joined(lacking, ", ") +
                   "; a WordPiece vocabulary was expected, one piece on each line.",
               "Take the vocab.txt that the network was trained with.");
    }
    return found;
}

PatientHeader checked(PatientHeader patient, const std::string &name) {
    if (patient.patient_id && strip(*patient.patient_id).empty()) patient.patient_id.reset();
    if (patient.sex && *patient.sex != "M" && *patient.sex != "F") {
        throw Error(MMCAF_STUDY, name + ".patient.sex: expected M, F or none, got another text.");
    }
    for (const auto &[what, value] : {std::pair{"age", patient.age}, std::pair{"weight", patient.weight}}) {
        if (value && !std::isfinite(*value)) {
            throw Error(MMCAF_STUDY, name + ".patient." + what + ": expected a number, got a value that is not finite.");
        }
    }
    return patient;
}

void expect_clinical(bool has_record, bool has_tokens, const Manifest &manifest) {
    if (!manifest.text && has_tokens) {
        refuse(MMCAF_RECORD, manifest.name + " reads no report, but one was given.", "Leave it out", "tokens");
    }
    if (!manifest.table && !manifest.text && has_record) {
        refuse(MMCAF_RECORD, manifest.name + " takes no record, but one was given.", "Leave it out", "record");
    }
    if (manifest.table && !has_record) {
        std::vector<std::string> names;
        for (const TableField &field : manifest.table->fields) names.push_back(field.name);
        refuse(MMCAF_RECORD,
               manifest.name + " needs a record with the fields " + joined(names, ", ") + "; none was given.",
               "Pass it after the study", "record");
    }
    if (manifest.text && manifest.text->refuse_missing && !has_record && !has_tokens) {
        refuse(MMCAF_RECORD, manifest.name + " reads a report; none was given.", "Give the numbers of its word pieces",
               "tokens");
    }
}

Clinical read_clinical(const std::optional<std::string> &record_json, const std::optional<std::vector<int64_t>> &tokens,
                       const Manifest &manifest, const Vocabulary *vocabulary, const PatientHeader &patient,
                       bool allow_id_mismatch) {
    Clinical clinical;
    if (record_json && (manifest.table || manifest.text)) {
        clinical.record = read_record(*record_json, manifest);
        clinical.sha256 = sha256_hex(*record_json);
        clinical.warnings = clinical.record->warnings;
        clinical.remarks = clinical.record->remarks;
    }
    const std::vector<std::string> ids = clinical.record ? clinical.record->patient_ids : std::vector<std::string>();
    const Compared whose = compare_identity(ids, manifest, patient, allow_id_mismatch);
    clinical.identity = whose.identity;
    clinical.warnings.insert(clinical.warnings.end(), whose.warnings.begin(), whose.warnings.end());
    if (record_json || tokens) {
        clinical.remarks.insert(clinical.remarks.end(), whose.remarks.begin(), whose.remarks.end());
    }
    if (clinical.record) {
        const auto found = contradictions(*clinical.record, manifest, patient);
        clinical.warnings.insert(clinical.warnings.end(), found.begin(), found.end());
    }
    if (manifest.text) {
        if (vocabulary == nullptr) throw std::logic_error(manifest.name + " reads text; its vocabulary is needed");
        read_tokens(clinical, tokens, manifest, *vocabulary);
    }
    return clinical;
}

}  // namespace mmcaf
