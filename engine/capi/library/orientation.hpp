// How a volume lies in the patient: checked, and turned toward head, back and left.

#pragma once

#include "volume.hpp"

namespace mmcaf {

// From the axes of a volume as given to slices, rows and columns toward head, back and left: axis `from[k]` becomes axis k,
// and runs the other way where `flipped[k]`.
struct Turn {
    std::array<size_t, 3> from{0, 1, 2};
    std::array<bool, 3> flipped{};
};

struct Placed {
    Turn turn;
    Placement placement;
    std::vector<std::string> warnings, remarks;
};

// Checks a volume's shape, spacing and direction, and tells how to turn it.
//
// Error MMCAF_STUDY: no axial volume has these; the message calls the volume `name`.
Placed place(const Volume &volume, const std::string &name, const PreprocessingSpec &spec);

// Compares the region of each series with that of the first.
//
// Error MMCAF_STUDY: another orientation or extent.
void check_one_geometry(const std::vector<std::pair<std::string, Placement>> &placements);

// Whither the axes of a network's input rise, as three letters of the manifest: axis k of the input is axis `from[k]` of a
// volume toward head, back and left, the other way where `flipped[k]`.
Turn axes_of(const std::string &letters);

}  // namespace mmcaf
