#include "record.hpp"

#include <algorithm>

#include "encode.hpp"
#include "error.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

constexpr size_t kMostShownKeys = 5, kMostShownKey = 40, kMostExplained = 5, kHeaderBytes = 65536;

using Given = Named<Json>;

// What a field was called in the record, as a value that is taken out of it; null where it is absent or null.
Json taken(Given &given, const std::string &key) {
    const auto found = std::find_if(given.begin(), given.end(), [&](const auto &entry) { return entry.first == key; });
    if (found == given.end()) return {};
    Json value = std::move(found->second);
    given.erase(found);
    return value;
}

[[noreturn]] void refuse(const std::string &problem, const std::string &remedy = {}) {
    std::vector<Remedy> remedies;
    if (!remedy.empty()) remedies.push_back({remedy, {}, {}, {}});
    throw Error(MMCAF_RECORD, problem, remedies);
}

std::vector<std::string> names_of(const Manifest &manifest) {
    std::vector<std::string> names;
    if (manifest.table) {
        for (const TableField &field : manifest.table->fields) names.push_back(field.name);
    }
    if (manifest.text) names.insert(names.end(), manifest.text->fields.begin(), manifest.text->fields.end());
    return names;
}

// Where the JSON begins, behind a byte order mark and blanks.
size_t first_of(std::string_view json) {
    const size_t mark = json.substr(0, 3) == "\xef\xbb\xbf" ? 3 : 0;
    const size_t first = json.find_first_not_of(" \t\n\r\f\v", mark);
    return first == json.npos ? json.size() : first;
}

// Whether the first line names a column that a record may have: a table of comma-separated values.
bool is_table(std::string_view text, const Manifest &manifest) {
    std::vector<std::string> known{"patient_id"};
    for (const std::string &name : names_of(manifest)) known.push_back(fold(name));
    if (manifest.table) {
        for (const std::string &name : manifest.table->ignored) known.push_back(fold(name));
    }
    if (!manifest.lesion_field().empty()) known.push_back(fold(manifest.lesion_field()));
    const std::string_view line = text.substr(0, std::min(text.find_first_of("\r\n"), kHeaderBytes));
    for (const char separator : {',', ';', '\t', '|'}) {
        for (size_t at = 0; at <= line.size();) {
            const size_t end = std::min(line.find(separator, at), line.size());
            std::string cell = strip(line.substr(at, end - at));
            cell.erase(std::remove(cell.begin(), cell.end(), '"'), cell.end());
            if (std::find(known.begin(), known.end(), field_key(cell)) != known.end()) return true;
            at = end + 1;
        }
    }
    return false;
}

// Whether a first object ends its line, and another begins the next.
bool is_lines(std::string_view json) {
    const size_t end = json.find('\n');
    if (end == json.npos) return false;
    const std::string first = strip(json.substr(0, end)), next = strip(json.substr(end + 1, 4096));
    return !first.empty() && first.back() == '}' && !next.empty() && next.front() == '{';
}

Json read_document(std::string_view json, const Manifest &manifest) {
    if (json.size() > kMostRecordBytes) {
        refuse("record: " + std::to_string(json.size()) + " bytes; a record of at most " +
                   std::to_string(kMostRecordBytes) + " (64 MiB) is read.",
               "Export fewer of the patient's resources: the Patient, its Observations and the DiagnosticReport are read.");
    }
    const size_t begin = first_of(json);
    const char first = begin < json.size() ? json[begin] : '\0';
    if (first == '<') refuse("record: XML; JSON was expected.", "Give one flat JSON object with the fields of the record.");
    if (first != '{' && first != '[' && is_table(json.substr(begin), manifest)) {
        refuse("record: a table of comma-separated values; one flat JSON object was expected, since this library reads no "
               "tables.",
               "Give the patient's row as a JSON object, or answer with the command line, which reads tables.");
    }
    try {
        return parse_json(json, "record", MMCAF_RECORD, kMostRecordBytes);
    } catch (const Error &) {
        if (first != '{' || !is_lines(json)) throw;
    }
    refuse("record: NDJSON, an object on each line, as FHIR's bulk export writes it; one JSON object was expected.",
           "Give one flat JSON object with the fields of the record.");
}

Given by_folded_key(const Json &document) {
    Given given;
    for (const auto &[key, value] : document.object()) {
        if (key == "$schema") continue;
        const std::string folded = field_key(key);
        if (find(given, folded) != nullptr) {
            refuse("record: two keys spell the same field: " + quoted(key) + ".", "Keep one of them.");
        }
        given.emplace_back(folded, value);
    }
    return given;
}

std::vector<std::string> patient_id(const Json &raw) {
    if (raw.is(Json::Kind::null)) return {};
    if (!raw.is(Json::Kind::text) && !raw.is(Json::Kind::integer)) {
        refuse("record: patient_id is a " + json_type(raw) + "; a string was expected.");
    }
    const std::string identifier = strip(raw.text());
    return identifier.empty() ? std::vector<std::string>() : std::vector<std::string>{identifier};
}

// A report is read as tokens, which come beside the record.
void refuse_report(Given &given, const TextSpec &text) {
    for (const std::string &name : text.fields) {
        const Json value = taken(given, fold(name));
        if (value.is(Json::Kind::null)) continue;
        if (!value.is(Json::Kind::text)) {
            refuse("record: " + name + " is a " + json_type(value) + "; a string was expected.");
        }
        throw Error(MMCAF_RECORD,
                    "record: " + name + " holds a report; this library reads reports as tokens alone, since it holds no "
                                        "tokenizer.",
                    {Remedy{"Take it out of the record, and give the numbers of its word pieces", "tokens", {}, {}},
                     Remedy{"Or answer with the command line, which reads reports.", {}, {}, {}}});
    }
}

std::string warning_on_others(const Given &given) {
    std::vector<std::string> keys, shown;
    for (const auto &entry : given) keys.push_back(entry.first);
    std::sort(keys.begin(), keys.end());
    for (size_t at = 0; at < std::min(keys.size(), kMostShownKeys); ++at) {
        shown.push_back(quoted(beginning(keys[at], kMostShownKey)));
    }
    const std::string more =
        keys.size() > kMostShownKeys ? " and " + std::to_string(keys.size() - kMostShownKeys) + " more" : "";
    return "the record's " + joined(shown, ", ") + more + " mean nothing to this network; ignored.";
}

void validate(Record &record, Given &given, const std::vector<TableField> &fields, Named<std::string> problems) {
    for (const TableField &field : fields) {
        Json raw = taken(given, fold(field.name));
        try {
            if (raw.is(Json::Kind::null)) {
                if (!field.imputed) throw UnusableValue{"missing, and this network does not answer without it"};
                const auto *number = std::get_if<double>(&*field.imputed);
                raw = number != nullptr ? Json(*number) : Json(std::get<std::string>(*field.imputed));
                record.missing.push_back(field.name);
                record.warnings.push_back(field.name + " is not in the record; " + in_words(*field.imputed) +
                                          " was used instead.");
            }
            const Encoded encoded = encode(field, raw);
            record.values.emplace_back(field.name, encoded.value);
            record.features.emplace_back(field.name, encoded.feature);
            if (field.cut) {
                const bool holds =
                    field.cut->above ? encoded.own >= field.cut->value : encoded.own <= field.cut->value;
                record.cuts.emplace_back(condition(field), holds ? 1.0 : 0.0);
            }
        } catch (const UnusableValue &why) {
            problems.emplace_back(field.name, why.reason);
        }
    }
    std::vector<std::string> strange;
    if (!given.empty()) strange.push_back(warning_on_others(given));
    record.warnings.insert(record.warnings.end(), strange.begin(), strange.end());
    if (problems.empty()) return;
    std::vector<std::string> said;
    for (const auto &[field, reason] : problems) said.push_back(field + ": " + reason);
    const std::string count =
        problems.size() == 1 ? "one field is" : std::to_string(problems.size()) + " fields are";
    std::string problem = "record: " + count + " not usable. " + joined(said, "; ") + ".";
    for (std::string &one : strange) {
        one[0] = 'T';
        problem += " " + one;
    }
    refuse(problem, "Correct the record and run again.");
}

}  // namespace

std::vector<float> Record::table() const {
    std::vector<float> row;
    for (const auto &entry : features) row.push_back(static_cast<float>(entry.second));
    for (const auto &entry : cuts) row.push_back(static_cast<float>(entry.second));
    return row;
}

std::string in_words(const RecordValue &value) {
    const auto *number = std::get_if<double>(&value);
    return number != nullptr ? float_repr(*number) : std::get<std::string>(value);
}

Record read_record(std::string_view json, const Manifest &manifest) {
    const Json document = read_document(json, manifest);
    if (!document.is(Json::Kind::object)) {
        refuse("record: a " + json_type(document) + " at the top; one JSON object with the fields " +
               joined(names_of(manifest), ", ") + " was expected.");
    }
    if (document.find("resourceType") != nullptr) {
        refuse("record: a FHIR resource; one flat JSON object with the fields " + joined(names_of(manifest), ", ") +
                   " was expected, since this library reads no FHIR.",
               "Give the fields as a flat JSON object, or answer with the command line, which reads FHIR.");
    }
    Given given = by_folded_key(document);
    Record record;
    record.patient_ids = patient_id(taken(given, "patient_id"));
    if (manifest.table) {
        for (const std::string &name : manifest.table->ignored) taken(given, fold(name));
    }
    if (manifest.text) refuse_report(given, *manifest.text);
    Named<std::string> problems;
    if (const std::string field = manifest.lesion_field(); !field.empty()) {
        const Json raw = taken(given, fold(field));
        try {
            if (!raw.is(Json::Kind::null)) record.lesion = read_named(raw);
        } catch (const UnusableValue &why) {
            problems.emplace_back(field, why.reason);
        }
    }
    static const std::vector<TableField> kNone;
    validate(record, given, manifest.table ? manifest.table->fields : kNone, problems);
    return record;
}

}  // namespace mmcaf
