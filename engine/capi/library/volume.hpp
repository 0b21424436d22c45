// What a caller gives of a study, and what there is to say of it; as mmcaf_engine/volume.py has it.

#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "manifest.hpp"
#include "plane.hpp"

namespace mmcaf {

using Vector = std::array<double, 3>;
using Matrix = std::array<Vector, 3>;

struct SourceImage {
    std::string sop_class_uid, sop_instance_uid;
    int frame = 0;  // from 1, of a multi-frame image; else 0
};

// What the study's header says of the patient; compared with the record, never logged. Age in years at the study, weight
// in kg.
struct PatientHeader {
    std::optional<std::string> patient_id, sex;
    std::optional<double> age, weight;
};

// Fills a slice [rows, columns] of the volume's type; slices are asked for in their order. May throw.
using SliceSource = std::function<void(size_t index, void *slice)>;

// One series as a caller holds it, in whatever axial orientation `direction` says: int16 or float32 values in memory, of
// which one is not null, or slice by slice from `source`. Spacing in mm, origin and direction in LPS, of slices, rows and
// columns.
struct Volume {
    std::string input;  // empty where the network has one volume input
    Shape shape{};
    bool whole = true;  // int16, else float32
    const int16_t *whole_values = nullptr;
    const float *real_values = nullptr;
    SliceSource source;
    Vector spacing_mm{}, origin_mm{};
    Matrix direction{{{0, 0, 1}, {0, 1, 0}, {1, 0, 0}}};
    Intensity intensity = Intensity::hounsfield;
    std::string series_uid;
    std::vector<SourceImage> images;  // of each slice, or none
};

// What a caller knows of the study beside its pixels; empty where it does not.
struct StudyHeader {
    PatientHeader patient;
    std::string modality, body_part, study_uid, frame_of_reference_uid;
    std::vector<SourceImage> images;  // of a 2D image
    std::string series_uid, view;     // view: of a 2D image
};

// Where a volume lies in the patient.
struct Placement {
    Shape shape{};
    Vector spacing_mm{}, origin_mm{};
    Matrix direction{};
};

// What there is to say of a series or image that was read, without its pixels. uids: study, series, frame_of_reference.
// warnings: on what was irregular; remarks: on what is merely absent.
struct StudyFacts {
    std::string modality;
    Named<std::string> uids;
    PatientHeader patient;
    size_t slices = 0;
    Vector spacing_mm{};
    std::vector<std::string> warnings, remarks;
    std::vector<SourceImage> images;
    std::string body_part;
};

}  // namespace mmcaf
