#include "prepare.hpp"

#include <algorithm>

#include "body_part.hpp"
#include "cancel.hpp"
#include "error.hpp"
#include "image.hpp"
#include "scope.hpp"
#include "slice_workers.hpp"
#include "text.hpp"
#include "turned_volume.hpp"

namespace mmcaf {

namespace {

constexpr const char *kGiven = "as given";

// A volume that is in order, whose pixels are still to be read.
struct Opened {
    const Volume *volume;
    std::string input, name;  // of the network, and in messages
    Turn turn;
    Placement placement;
    StudyFacts facts;
};

[[noreturn]] void refuse_use(const std::string &problem, const std::string &remedy, const std::string &option = {}) {
    throw Error(MMCAF_USAGE, problem, {Remedy{remedy, option, {}, {}}});
}

const char *in_words(Intensity intensity) {
    return intensity == Intensity::hounsfield ? "hounsfield" : intensity == Intensity::rescaled ? "rescaled" : "stored";
}

void refuse_options_of_volumes(const Manifest &manifest, const Asked &asked) {
    std::vector<std::string> given;
    std::vector<Remedy> remedies;
    if (asked.stride != 0) given.emplace_back("stride");
    if (asked.slices) given.emplace_back("slices");
    if (given.empty()) return;
    for (const std::string &name : given) remedies.push_back({"Leave it out", name, {}, {}});
    throw Error(MMCAF_USAGE,
                joined(given, ", ") + ": for networks that read volumes; " + manifest.name + " reads " +
                    (manifest.image ? "one 2D image." : "no study."),
                remedies);
}

// A regression that counts windows is of as many as it was fitted with.
void refuse_other_stride(const Manifest &manifest, int64_t stride) {
    const auto &windows = manifest.preprocessing->windows;
    if (manifest.aggregation.method != AggregationSpec::Method::logistic_regression || !windows || stride == 0 ||
        stride == windows->stride) {
        return;
    }
    refuse_use("stride: " + std::to_string(stride) + " slices came; " + manifest.name + " counts windows every " +
                   std::to_string(windows->stride) +
                   " slices, and the coefficients of its logistic regression are of as many.",
               "Leave it out", "stride");
}

// One volume for each input, in the inputs' order.
std::vector<const Volume *> by_input(const std::vector<Volume> &volumes, const std::vector<std::string> &inputs) {
    std::vector<std::string> names;
    for (const Volume &volume : volumes) names.push_back(volume.input.empty() ? inputs.front() : volume.input);
    std::vector<const Volume *> found;
    for (const std::string &input : inputs) {
        const auto at = std::find(names.begin(), names.end(), input);
        if (at != names.end()) found.push_back(&volumes[static_cast<size_t>(at - names.begin())]);
    }
    if (found.size() != inputs.size() || names.size() != inputs.size()) {
        refuse_use("study: expected one volume for each of " + joined(inputs, ", ") + ", got " + joined(names, ", ") + ".",
                   "Name the input of each volume.");
    }
    return found;
}

StudyFacts facts_of(const StudyHeader &header, const std::string &series_uid, const std::string &modality) {
    StudyFacts facts;
    facts.modality = header.modality.empty() ? modality : header.modality;
    facts.patient = header.patient;
    facts.body_part = header.body_part;
    for (const auto &[key, uid] : {std::pair{"study", header.study_uid}, std::pair{"series", series_uid},
                                   std::pair{"frame_of_reference", header.frame_of_reference_uid}}) {
        if (!uid.empty()) facts.uids.emplace_back(key, uid);
    }
    return facts;
}

Opened opened(const Volume &volume, const std::string &input, const Manifest &manifest, const StudyHeader &header) {
    const PreprocessingSpec &spec = *manifest.preprocessing;
    const std::string &series = volume.series_uid;
    Opened found{&volume, input, input + ": " + (series.empty() ? "the volume given" : series), {}, {}, {}};
    found.facts = facts_of(header, series, spec.modality);
    found.facts.patient = checked(header.patient, input);
    if (found.facts.modality != spec.modality) {
        throw Error(MMCAF_USAGE,
                    input + ": expected a volume of " + spec.modality + ", got one of " + found.facts.modality + ".");
    }
    if (volume.intensity != spec.intensity) {
        throw Error(MMCAF_USAGE, input + ": expected \"" + in_words(spec.intensity) +
                                     "\" intensities, in which the network was trained, got \"" +
                                     in_words(volume.intensity) + "\".");
    }
    if (!volume.images.empty() && volume.images.size() != volume.shape[0]) {
        throw Error(MMCAF_USAGE, input + ": " + std::to_string(volume.images.size()) + " source images of " +
                                     std::to_string(volume.shape[0]) + " slices; one each was expected.");
    }
    Placed placed = place(volume, input, spec);
    if (!volume.images.empty() && placed.turn.from[0] != 0) {
        refuse_use(input + ": source images are of slices along the first axis, which does not run along the patient here.",
                   "Give the slices first, or leave the source images out.");
    }
    found.turn = placed.turn;
    found.placement = placed.placement;
    found.facts.images = volume.images;
    if (placed.turn.flipped[0]) std::reverse(found.facts.images.begin(), found.facts.images.end());
    found.facts.slices = placed.placement.shape[0];
    found.facts.spacing_mm = placed.placement.spacing_mm;
    found.facts.warnings = placed.warnings;
    found.facts.remarks = placed.remarks;
    return found;
}

std::vector<Opened> open_volumes(const std::vector<Volume> &volumes, const Manifest &manifest, const StudyHeader &header) {
    const std::vector<std::string> inputs = manifest.volumes();
    const std::vector<const Volume *> given = by_input(volumes, inputs);
    std::vector<Opened> found;
    std::vector<std::pair<std::string, Placement>> placements;
    for (size_t at = 0; at < inputs.size(); ++at) {
        found.push_back(opened(*given[at], inputs[at], manifest, header));
        placements.emplace_back(inputs[at], found.back().placement);
    }
    check_one_geometry(placements);
    for (Opened &entry : found) check_body_part(manifest.body_part, entry.facts);
    return found;
}

// Each slice is processed while the next one is handed over.
PreparedSeries prepared_series(Opened &entry, Preprocessor &preprocessor, size_t &done, size_t total) {
    SliceWorkers workers;
    each_turned_slice(*entry.volume, entry.turn, [&](size_t index, std::shared_ptr<const TurnedSlice> slice) {
        workers.run([&preprocessor, index, slice] { preprocessor.put(index, slice->slice); });
        report("slices", ++done, total);
    });
    workers.finish();
    preprocessor.extremes().refuse_one_value();
    const auto warnings = preprocessor.extremes().warnings(entry.volume->intensity);
    entry.facts.warnings.insert(entry.facts.warnings.end(), warnings.begin(), warnings.end());
    return {entry.input, entry.facts, preprocessor.windows(), entry.volume->series_uid, kGiven, entry.placement};
}

Tensor real_tensor(const std::string &name, std::vector<int64_t> shape, std::vector<float> values) {
    Tensor tensor;
    tensor.name = name;
    tensor.shape = std::move(shape);
    tensor.reals = std::move(values);
    return tensor;
}

Tensor whole_tensor(const std::string &name, const std::vector<int64_t> &values) {
    Tensor tensor;
    tensor.name = name;
    tensor.shape = {1, static_cast<int64_t>(values.size())};
    tensor.whole = true;
    tensor.integers = values;
    return tensor;
}

// Of several series, each says which one it is about.
void add_each(std::vector<std::string> &found, const Prepared &prepared, std::vector<std::string> StudyFacts::*texts) {
    for (const PreparedSeries &entry : prepared.series) {
        for (const std::string &text : entry.facts.*texts) {
            found.push_back(prepared.series.size() > 1 ? entry.input + ": " + text : text);
        }
    }
    if (!prepared.image) return;
    const auto &of_image = prepared.image->facts.*texts;
    found.insert(found.end(), of_image.begin(), of_image.end());
}

// As the engine in Python, which reads the view from the image's header.
void check_view(const std::string &view, const ImageSpec &spec, PreparedImage &image) {
    if (spec.view == "any" || view == spec.view) return;
    if (!view.empty()) {
        throw Error(MMCAF_STUDY, image.input + ": a " + view + " view came; a " + spec.view + " one was expected.",
                    {{"Send the " + spec.view + " view.", "view", "", ""}});
    }
    image.facts.remarks.push_back(image.input + ": its view is not known, since the caller did not say; it was taken to be " +
                                  spec.view + ".");
}

}  // namespace

std::vector<int64_t> Prepared::starts() const {
    return series.empty() ? std::vector<int64_t>{0} : series.front().windows.starts;
}

std::vector<std::string> Prepared::study_warnings() const {
    std::vector<std::string> found;
    add_each(found, *this, &StudyFacts::warnings);
    return found;
}

std::vector<std::string> Prepared::remarks() const {
    std::vector<std::string> found;
    add_each(found, *this, &StudyFacts::remarks);
    found.insert(found.end(), clinical.remarks.begin(), clinical.remarks.end());
    return found;
}

std::vector<Tensor> Prepared::inputs(size_t window, const Manifest &manifest) const {
    std::vector<Tensor> found;
    for (const PreparedSeries &entry : series) {
        std::vector<int64_t> shape{1, 1};
        for (const size_t side : entry.windows.window_shape()) shape.push_back(static_cast<int64_t>(side));
        found.push_back(real_tensor(entry.input, shape, entry.windows.window(window)));
    }
    if (image) {
        const ImageSpec &spec = *manifest.image;
        const std::vector<int64_t> shape{1, static_cast<int64_t>(spec.channels), static_cast<int64_t>(spec.rows),
                                         static_cast<int64_t>(spec.columns)};
        found.push_back(real_tensor(image->input, shape, image->values));
    }
    if (manifest.table && clinical.record) {
        std::vector<float> row = clinical.record->table();
        const std::vector<int64_t> shape{1, static_cast<int64_t>(row.size())};
        found.push_back(real_tensor(manifest.input("table")->name, shape, std::move(row)));
    }
    if (clinical.text) {
        found.push_back(whole_tensor(manifest.input("tokens")->name, clinical.text->ids));
        found.push_back(whole_tensor(manifest.input("token_mask")->name, clinical.text->mask));
    }
    return found;
}

Prepared prepare_volumes(const std::vector<Volume> &volumes, const std::optional<std::string> &record_json,
                         const std::optional<std::vector<int64_t>> &tokens, const Manifest &manifest,
                         const Vocabulary *vocabulary, const StudyHeader &header, const Asked &asked) {
    check_asked(asked.slices);
    expect_clinical(record_json.has_value(), tokens.has_value(), manifest);
    Prepared prepared;
    if (!manifest.preprocessing) {
        refuse_options_of_volumes(manifest, asked);
        if (manifest.image) refuse_use(manifest.name + " reads one 2D image, but a volume was given.", "Give a plane.");
        if (!volumes.empty()) {
            refuse_use(manifest.name + " reads no study, but one was given.", "Give the record alone.");
        }
        prepared.clinical = read_clinical(record_json, tokens, manifest, vocabulary, {}, asked.allow_id_mismatch);
        return prepared;
    }
    refuse_other_stride(manifest, asked.stride);
    if (volumes.empty()) refuse_use(manifest.name + " reads a study; none was given.", "Give one", "study");
    std::vector<Opened> found = open_volumes(volumes, manifest, header);
    prepared.clinical =
        read_clinical(record_json, tokens, manifest, vocabulary, found[0].facts.patient, asked.allow_id_mismatch);
    const auto lesion = prepared.clinical.record ? prepared.clinical.record->lesion : std::nullopt;
    const Scope scope =
        scope_of(asked.slices, lesion, manifest, found[0].facts.slices, found[0].facts.images, found[0].name);
    auto &warnings = prepared.clinical.warnings;
    warnings.insert(warnings.end(), scope.warnings.begin(), scope.warnings.end());
    std::vector<std::unique_ptr<Preprocessor>> preprocessors;
    size_t done = 0, total = 0;
    for (const Opened &entry : found) {
        preprocessors.push_back(std::make_unique<Preprocessor>(entry.placement.shape, *manifest.preprocessing,
                                                               asked.stride, scope.span, entry.name));
        total += entry.facts.slices;
    }
    for (size_t at = 0; at < found.size(); ++at) {
        PreparedSeries read = prepared_series(found[at], *preprocessors[at], done, total);
        if (const auto &spec = manifest.preprocessing->windows) {
            const auto remarks = remarks_on(scope, read.windows, *spec, read.facts.slices, read.facts.images);
            read.facts.remarks.insert(read.facts.remarks.end(), remarks.begin(), remarks.end());
        }
        prepared.series.push_back(std::move(read));
        preprocessors[at].reset();
    }
    return prepared;
}

Prepared prepare_image(const Plane &plane, const std::optional<std::string> &record_json,
                       const std::optional<std::vector<int64_t>> &tokens, const Manifest &manifest,
                       const Vocabulary *vocabulary, const StudyHeader &header, const Asked &asked) {
    check_asked(asked.slices);
    expect_clinical(record_json.has_value(), tokens.has_value(), manifest);
    if (!manifest.image) {
        refuse_use(manifest.name + " reads " + (manifest.preprocessing ? "volumes" : "no study") + ", but a plane was given.",
                   manifest.preprocessing ? "Give a volume." : "Give the record alone.");
    }
    refuse_options_of_volumes(manifest, asked);
    const ImageSpec &spec = *manifest.image;
    const std::string input = manifest.input("image")->name;
    PreparedImage image;
    image.input = input;
    image.facts = facts_of(header, header.series_uid, spec.modality.front());
    image.facts.patient = checked(header.patient, input);
    image.facts.slices = 1;
    if (std::find(spec.modality.begin(), spec.modality.end(), image.facts.modality) == spec.modality.end()) {
        throw Error(MMCAF_USAGE, input + ": expected an image of " + joined(spec.modality, " or ") + ", got one of " +
                                     image.facts.modality + ".");
    }
    if (header.images.size() > 1) {
        throw Error(MMCAF_USAGE,
                    input + ": " + std::to_string(header.images.size()) + " source images of one plane; one was expected.");
    }
    image.facts.images = header.images;
    if (!header.images.empty()) {
        image.source = header.images[0].sop_instance_uid;
        image.facts.uids.emplace_back("image", image.source);
    }
    check_body_part(manifest.body_part, image.facts);
    check_view(header.view, spec, image);
    image.chosen = kGiven;
    Prepared prepared;
    prepared.clinical =
        read_clinical(record_json, tokens, manifest, vocabulary, image.facts.patient, asked.allow_id_mismatch);
    const auto warnings = check_plane(plane, input);
    image.facts.warnings.insert(image.facts.warnings.end(), warnings.begin(), warnings.end());
    report("slices", 1, 1);
    image.values = image_input(plane, spec);
    prepared.image = std::move(image);
    return prepared;
}

}  // namespace mmcaf
