#include "orientation.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

constexpr size_t kLongest = 4096;
constexpr double kFarthest = 1e5;           // mm
constexpr double kShearDegrees = 0.5;       // that axes may miss a right angle by
constexpr double kSpacingTolerance = 0.01;  // of the voxel size that is declared, as a share
constexpr double kAxialDegrees = 5.0;       // between the slices' normal and the patient's long axis
constexpr double kObliqueDegrees = 20.0;    // as above, of MR that may lean
constexpr double kOverlap = 0.9;            // of the longer extent, that two series must share
constexpr double kDegrees = 180.0 / 3.14159265358979323846;

const Remedy kRemedy{
    "Give the spacing in mm and the direction as unit vectors along slices, rows and columns, in LPS.", {}, {}, {}};

double dot(const Vector &one, const Vector &other) {
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2];
}

double length(const Vector &vector) { return std::sqrt(dot(vector, vector)); }

Vector cross(const Vector &one, const Vector &other) {
    return {one[1] * other[2] - one[2] * other[1], one[2] * other[0] - one[0] * other[2],
            one[0] * other[1] - one[1] * other[0]};
}

// Vectors from one voxel to the next along each axis, mm in LPS.
void check_axes(const Matrix &axes, const Volume &volume, const std::string &name) {
    bool finite = true;
    for (const Vector &vector : {axes[0], axes[1], axes[2], volume.origin_mm}) {
        for (const double value : vector) finite = finite && std::abs(value) <= kFarthest;
    }
    if (!finite) {
        throw Error(MMCAF_STUDY,
                    name + ": its affine holds values that are not finite, or above " + general(kFarthest) + " mm.",
                    {kRemedy});
    }
    const Vector lengths{length(axes[0]), length(axes[1]), length(axes[2])};
    const double volume_of_voxel = dot(axes[0], cross(axes[1], axes[2]));
    if (*std::min_element(lengths.begin(), lengths.end()) <= 0 ||
        std::abs(volume_of_voxel / (lengths[0] * lengths[1] * lengths[2])) < 1e-3) {
        throw Error(MMCAF_STUDY, name + ": its affine is singular: the voxels' axes do not span a volume.", {kRemedy});
    }
    double largest = 0;
    for (size_t one = 0; one < 3; ++one) {
        for (size_t other = 0; other < 3; ++other) {
            const double cosine = dot(axes[one], axes[other]) / (lengths[one] * lengths[other]);
            largest = std::max(largest, std::abs(cosine - (one == other ? 1.0 : 0.0)));
        }
    }
    const double shear = std::asin(std::min(largest, 1.0)) * kDegrees;
    if (shear > kShearDegrees) {
        throw Error(MMCAF_STUDY,
                    name + ": its affine is sheared by " + fixed(shear, 1) + " degrees; at most " +
                        general(kShearDegrees) + " was expected, of a grid with right angles.",
                    {kRemedy});
    }
    for (size_t axis = 0; axis < 3; ++axis) {
        if (std::abs(volume.spacing_mm[axis] - lengths[axis]) <= kSpacingTolerance * lengths[axis]) continue;
        throw Error(MMCAF_STUDY,
                    name + ": voxels of " + by_axes(volume.spacing_mm) + " mm by spacing_mm, but " + by_axes(lengths) +
                        " mm by its affine; at most 1% of difference was expected.",
                    {kRemedy});
    }
}

// The closest matrix of perpendicular unit vectors, by Newton's iteration toward the polar factor.
Matrix perpendicular(Matrix axes) {
    for (int step = 0; step < 12; ++step) {
        const Matrix across{cross(axes[1], axes[2]), cross(axes[2], axes[0]), cross(axes[0], axes[1])};
        const double determinant = dot(axes[0], across[0]);
        for (size_t row = 0; row < 3; ++row) {
            for (size_t column = 0; column < 3; ++column) {
                axes[row][column] = (axes[row][column] + across[row][column] / determinant) / 2;
            }
        }
    }
    return axes;
}

// The axis that runs most clearly along one of the patient's takes that one first.
Turn turn_of(Matrix axes) {
    for (Vector &axis : axes) {
        const double whole = length(axis);
        for (double &value : axis) value /= whole;
    }
    axes = perpendicular(axes);
    const auto clearest = [&](size_t axis) {
        double most = 0;
        for (const double value : axes[axis]) most = std::max(most, value * value);
        return most;
    };
    std::array<size_t, 3> order{0, 1, 2};
    std::array<double, 3> clear{clearest(0), clearest(1), clearest(2)};
    std::stable_sort(order.begin(), order.end(), [&](size_t one, size_t other) { return clear[one] > clear[other]; });
    Turn turn;
    std::array<bool, 3> taken{};
    for (const size_t axis : order) {
        int along = -1;
        // In the order right to left, front to back, feet to head.
        for (int candidate = 0; candidate < 3; ++candidate) {
            if (taken[candidate]) continue;
            if (along < 0 || std::abs(axes[axis][candidate]) > std::abs(axes[axis][along])) along = candidate;
        }
        taken[along] = true;
        const size_t to = 2 - static_cast<size_t>(along);  // x is the columns' axis, z that of the slices
        turn.from[to] = axis;
        turn.flipped[to] = axes[axis][along] < 0;
    }
    return turn;
}

Placement placement_of(const Matrix &axes, const Volume &volume, const Turn &turn) {
    Placement place;
    Vector origin = volume.origin_mm;
    for (size_t axis = 0; axis < 3; ++axis) {
        const size_t from = turn.from[axis];
        const double sign = turn.flipped[axis] ? -1 : 1, whole = length(axes[from]);
        place.shape[axis] = volume.shape[from];
        place.spacing_mm[axis] = whole;
        for (size_t at = 0; at < 3; ++at) {
            place.direction[axis][at] = sign * axes[from][at] / whole + 0.0;  // no negative zero
            if (turn.flipped[axis]) origin[at] += axes[from][at] * static_cast<double>(volume.shape[from] - 1);
        }
    }
    for (size_t at = 0; at < 3; ++at) place.origin_mm[at] = origin[at] + 0.0;
    return place;
}

// Slices whose normal is off the patient's long axis, unless they are MR of a network that takes them.
void check_axial(const std::string &name, const PreprocessingSpec &spec, Placed &placed) {
    const double along = std::clamp(placed.placement.direction[0][2], -1.0, 1.0);
    const double degrees = std::acos(along) * kDegrees;
    if (degrees <= kAxialDegrees) return;
    const bool mr = spec.modality == "MR", acceptable = mr && degrees <= kObliqueDegrees;
    const std::string lean = "their normal is " + fixed(degrees, 1) + " degrees off the patient's long axis";
    if (acceptable && spec.accept_oblique) {
        placed.remarks.push_back(name + ": the slices are oblique: " + lean +
                                 "; they were taken as they lie, as is usual of this network.");
        return;
    }
    const std::string most =
        mr && !acceptable ? ", and " + general(kObliqueDegrees) + " is the most that is accepted" : "";
    throw Error(MMCAF_STUDY,
                name + ": the slices are not axial: " + lean + "; at most 5.0 degrees were expected" + most + ".",
                {Remedy{"Send the axial series.", {}, {}, {}}});
}

std::array<double, 2> extent(const Placement &place, const Placement &reference, size_t axis) {
    const double start = dot(place.origin_mm, reference.direction[axis]), step = place.spacing_mm[axis];
    return {start - step / 2, start + (static_cast<double>(place.shape[axis]) - 0.5) * step};
}

}  // namespace

Placed place(const Volume &volume, const std::string &name, const PreprocessingSpec &spec) {
    for (const size_t side : volume.shape) {
        if (side >= 1 && side <= kLongest) continue;
        throw Error(MMCAF_STUDY,
                    name + ": expected slices x rows x columns, each 1 to " + std::to_string(kLongest) + ", got " +
                        by_axes(volume.shape) + ".",
                    {Remedy{"Give one volume of three axes.", {}, {}, {}}});
    }
    for (const double spacing : volume.spacing_mm) {
        if (std::isfinite(spacing) && spacing > 0) continue;
        throw Error(MMCAF_STUDY, name + ": expected three spacings above 0 mm, got " + by_axes(volume.spacing_mm) + ".",
                    {kRemedy});
    }
    Matrix axes = volume.direction;
    for (size_t axis = 0; axis < 3; ++axis) {
        for (double &value : axes[axis]) value *= volume.spacing_mm[axis];
    }
    check_axes(axes, volume, name);
    Placed placed;
    placed.turn = turn_of(axes);
    placed.placement = placement_of(axes, volume, placed.turn);
    check_axial(name, spec, placed);
    return placed;
}

void check_one_geometry(const std::vector<std::pair<std::string, Placement>> &placements) {
    static const char *const kAxes[] = {"head to feet", "front to back", "left to right"};
    const auto &[first, place] = placements.front();
    for (size_t at = 1; at < placements.size(); ++at) {
        const auto &[other, compared] = placements[at];
        double least = 1;
        for (size_t axis = 0; axis < 3; ++axis) {
            least = std::min(least, dot(place.direction[axis], compared.direction[axis]));
        }
        const double angle = std::acos(std::clamp(least, -1.0, 1.0)) * kDegrees;
        if (angle > kAxialDegrees) {
            throw Error(MMCAF_STUDY,
                        "study: " + other + " is turned by " + fixed(angle, 1) + " degrees against " + first +
                            "; at most " + general(kAxialDegrees) + " was expected.",
                        {Remedy{"Give phases of one geometry.", {}, {}, {}}});
        }
        for (size_t axis = 0; axis < 3; ++axis) {
            const auto mine = extent(place, place, axis), theirs = extent(compared, place, axis);
            const double shared = std::max(std::min(mine[1], theirs[1]) - std::max(mine[0], theirs[0]), 0.0);
            if (shared >= kOverlap * std::max(mine[1] - mine[0], theirs[1] - theirs[0])) continue;
            throw Error(MMCAF_STUDY,
                        "study: " + first + " covers " + fixed(mine[1] - mine[0], 1) + " mm from " + kAxes[axis] +
                            ", " + other + " " + fixed(theirs[1] - theirs[0], 1) + " mm, and they share " +
                            fixed(shared, 1) + " mm; at least 90% of the longer one was expected.",
                        {Remedy{"Give phases that cover the same region.", {}, {}, {}}});
        }
    }
}

Turn axes_of(const std::string &letters) {
    Turn turn;
    for (size_t at = 0; at < 3; ++at) {
        const char letter = letters[at];
        turn.from[at] = letter == 'S' || letter == 'I' ? 0 : letter == 'P' || letter == 'A' ? 1 : 2;
        turn.flipped[at] = letter == 'R' || letter == 'A' || letter == 'I';
    }
    return turn;
}

}  // namespace mmcaf
