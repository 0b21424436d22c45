// A study and a record made ready for the network of one bundle; as mmcaf_engine/inputs/prepare.py has it.

#pragma once

#include "clinical.hpp"
#include "tensor.hpp"
#include "volume.hpp"
#include "windows.hpp"

namespace mmcaf {

// What one volume input will see, of which series. source: its SeriesInstanceUID. chosen: why this one, in words.
struct PreparedSeries {
    std::string input;
    StudyFacts facts;
    Windows windows;
    std::string source, chosen;
    Placement placement;
};

// What the image input will see: float32 [1, channels, rows, columns].
struct PreparedImage {
    std::string input;
    StudyFacts facts;
    std::vector<float> values;
    std::string source, chosen;
};

// What the network will see: a series for each volume input or one image, and the record and the report. Every series has
// the same number of windows; whatever has no series is one window.
struct Prepared {
    std::vector<PreparedSeries> series;
    Clinical clinical;
    std::optional<PreparedImage> image;

    size_t size() const { return starts().size(); }
    std::vector<int64_t> starts() const;  // first slice of each window

    // Of several series, each sentence says which one it is about.
    std::vector<std::string> study_warnings() const;
    std::vector<std::string> remarks() const;

    // All that the network takes for one window.
    std::vector<Tensor> inputs(size_t window, const Manifest &manifest) const;
};

// What is asked for of a study. stride: 0 is the manifest's.
struct Asked {
    std::optional<SliceSpan> slices;
    int64_t stride = 0;
    bool allow_id_mismatch = false;
};

// Of networks that read volumes, and of those that read no study, which take none. Tells `report` of slices.
//
// tokens, vocabulary: as of `read_clinical`.
//
// Error MMCAF_STUDY, MMCAF_RECORD: that part is refused; the message says why. Error MMCAF_USAGE: an argument is out of
// range, or names no input.
Prepared prepare_volumes(const std::vector<Volume> &volumes, const std::optional<std::string> &record_json,
                         const std::optional<std::vector<int64_t>> &tokens, const Manifest &manifest,
                         const Vocabulary *vocabulary, const StudyHeader &header, const Asked &asked);

// Of networks that read one 2D image: a plane of grey values from 0, black, to 255, white.
Prepared prepare_image(const Plane &plane, const std::optional<std::string> &record_json,
                       const std::optional<std::vector<int64_t>> &tokens, const Manifest &manifest,
                       const Vocabulary *vocabulary, const StudyHeader &header, const Asked &asked);

}  // namespace mmcaf
