#include "assemble.hpp"

#include <algorithm>
#include <set>

#include "text.hpp"

namespace mmcaf {

namespace {

constexpr const char *not_a_medical_device = "Not a medical device: for research, not for diagnosis or treatment.";

// Under this name the features say how many word pieces of a report the network read.
constexpr const char *word_pieces = "word_pieces";

// The series or the image of one input.
struct Studied {
    const std::string &input, &source, &chosen;
    const StudyFacts &facts;
    const Windows *windows;  // null of an image
};

std::vector<Studied> studied(const Prepared &prepared) {
    std::vector<Studied> found;
    for (const auto &entry : prepared.series)
        found.push_back({entry.input, entry.source, entry.chosen, entry.facts, &entry.windows});
    if (prepared.image)
        found.push_back({prepared.image->input, prepared.image->source, prepared.image->chosen, prepared.image->facts, nullptr});
    return found;
}

// Of an image, or without a study, none.
std::vector<ResultWindow> windows_of(const Manifest &manifest, const Prepared &prepared, const StudyScore &score) {
    if (prepared.series.empty()) return {};
    const auto slices = static_cast<int64_t>(prepared.series[0].facts.slices);
    const auto &spec = manifest.preprocessing->windows;
    const int64_t depth = spec ? spec->slices : slices;
    const auto starts = prepared.starts();
    std::vector<ResultWindow> found;
    for (size_t at = 0; at < starts.size(); ++at)
        found.push_back({starts[at], std::min(depth, slices - starts[at]), score.windows[at].logit, score.windows[at].probability});
    return found;
}

StudySummary study_of(const Prepared &prepared) {
    StudySummary summary;
    const auto entries = studied(prepared);
    if (entries.empty()) return summary;
    const StudyFacts &first = entries[0].facts;
    for (const auto &[key, uid] : first.uids) {
        const bool common = std::all_of(entries.begin(), entries.end(), [&, name = &key, value = &uid](const Studied &entry) {
            const std::string *other = find(entry.facts.uids, *name);
            return other != nullptr && *other == *value;
        });
        if (common) summary.uids.emplace_back(key, uid);
    }
    std::set<std::string> parts;
    for (const auto &entry : entries) {
        parts.insert(entry.facts.body_part);
        summary.selection.push_back({entry.input, entry.source, entry.chosen, entry.facts.slices, entry.facts.spacing_mm});
    }
    if (parts.size() == 1 && !parts.begin()->empty()) summary.body_part = *parts.begin();
    summary.modality = first.modality;
    summary.slices = first.slices;
    summary.spacing_mm = first.spacing_mm;
    summary.warnings = prepared.study_warnings();
    return summary;
}

// The images that can be referred to; into `lacking` the inputs with slices that cannot. Where the network takes windows,
// only what lies in one was scored.
std::vector<Evidence> evidence_of(const Manifest &manifest, const Prepared &prepared, Texts &lacking) {
    const bool in_windows = manifest.preprocessing && manifest.preprocessing->windows;
    std::vector<Evidence> found;
    for (const auto &entry : studied(prepared)) {
        const auto &images = entry.facts.images;
        size_t first = 0, end = images.size();
        if (in_windows && entry.windows != nullptr) {
            first = std::min(end, static_cast<size_t>(entry.windows->starts.front()));
            end = std::min(end, static_cast<size_t>(entry.windows->starts.back()) + entry.windows->depth);
        }
        size_t named = 0;
        for (size_t at = first; at < end; ++at) {
            const auto &image = images[at];
            if (image.sop_class_uid.empty() || image.sop_instance_uid.empty()) continue;
            ++named;
            found.push_back({entry.input, image.sop_class_uid, image.sop_instance_uid,
                             image.frame == 0 ? std::nullopt : std::optional(image.frame)});
        }
        if (named == 0 || named < end - first) lacking.push_back(entry.input);
    }
    return found;
}

// What the network saw of record and report; nothing where it reads neither.
std::optional<RecordSummary> record_of(const Clinical &clinical) {
    if (!clinical.record && !clinical.text) return {};
    RecordSummary summary;
    if (clinical.record) {
        summary.features = clinical.record->features;
        for (const auto &cut : clinical.record->cuts) summary.features.push_back(cut);
        summary.missing = clinical.record->missing;
    }
    if (clinical.text) {
        summary.features.emplace_back(word_pieces, static_cast<double>(clinical.text->kept));
        if (clinical.text->kept == 0) summary.missing.push_back("report");
    }
    summary.sha256 = clinical.sha256;
    summary.identity = clinical.identity;
    summary.warnings = clinical.warnings;
    return summary;
}

}  // namespace

void assemble(Result &result, const Manifest &manifest, const AnsweringFacts &facts, const Prepared &prepared,
              const StudyScore &score) {
    result.score = score;
    for (size_t at = 0; at < manifest.labels.size(); ++at)
        result.probabilities.emplace_back(manifest.labels[at], score.probabilities[at]);
    result.risk_levels = risk_levels(manifest, score.probabilities);
    result.windows = windows_of(manifest, prepared, score);
    result.study = study_of(prepared);
    result.record = record_of(prepared.clinical);
    result.labels = label_codes(manifest);
    result.model = facts.model;
    result.engine = facts.engine;
    result.remarks = prepared.remarks();
    Texts lacking;
    result.evidence = evidence_of(manifest, prepared, lacking);
    if (!lacking.empty())
        result.remarks.push_back(joined(lacking, ", ") +
                                 ": not of DICOM images with a UID each; the result names no evidence of it.");
    for (const auto &[name, description] : manifest.provenance.repairs)
        result.remarks.push_back("The network is repaired (" + name + "): " + description + ".");
    result.remarks.insert(result.remarks.end(), facts.remarks.begin(), facts.remarks.end());
    result.disclaimer = strip(manifest.intended_use + " " + not_a_medical_device);
}

}  // namespace mmcaf
