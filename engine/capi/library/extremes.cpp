#include "extremes.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

constexpr size_t kSide = 32;  // samples along each side of a slice, by which slices are compared
constexpr double kHighestAir = -500;
constexpr size_t kMostVolumes = 4;
constexpr float kUnlike = 1.2f;
constexpr float kStray = 3.0f;
constexpr double kNearlyAll = 0.9;
constexpr size_t kFewestOfEach = 3;

// The sum in the order that NumPy has: bits decide on which side of a threshold a series lies.
float pairwise_sum(const float *values, size_t count) {
    if (count < 8) {
        float sum = 0;
        for (size_t at = 0; at < count; ++at) sum += values[at];
        return sum;
    }
    if (count > 128) {
        const size_t half = count / 2 - count / 2 % 8;
        return pairwise_sum(values, half) + pairwise_sum(values + half, count - half);
    }
    float sums[8];
    std::copy_n(values, 8, sums);
    size_t at = 8;
    for (; at < count - count % 8; at += 8) {
        for (size_t lane = 0; lane < 8; ++lane) sums[lane] += values[at + lane];
    }
    float sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    for (; at < count; ++at) sum += values[at];
    return sum;
}

template <class Value> void find_ends(const Value *values, size_t count, double &lowest, double &highest) {
    Value low = values[0], high = values[0];
    for (size_t at = 1; at < count; ++at) {
        low = std::min(low, values[at]);
        high = std::max(high, values[at]);
    }
    lowest = static_cast<double>(low);
    highest = static_cast<double>(high);
}

size_t not_finite(const Slice &slice) {
    if (slice.real == nullptr) return 0;
    size_t found = 0;
    for (size_t at = 0; at < slice.rows * slice.columns; ++at) found += !std::isfinite(slice.real[at]);
    return found;
}

}  // namespace

Extremes::Extremes(const Shape &shape, std::string name) : shape_(shape), name_(std::move(name)) {
    sampled_ = 1;
    for (size_t axis = 0; axis < 2; ++axis) {
        const size_t side = shape[axis + 1];
        steps_[axis] = std::max<size_t>(side / kSide, 1);
        sampled_ *= (side - steps_[axis] / 2 + steps_[axis] - 1) / steps_[axis];
    }
    lowest_.resize(shape[0]);
    highest_.resize(shape[0]);
    samples_.resize(shape[0] * sampled_);
}

void Extremes::look(size_t index, const Slice &slice) {
    const size_t count = slice.rows * slice.columns;
    if (const size_t broken = not_finite(slice); broken > 0) {
        throw Error(MMCAF_STUDY,
                    name_ + ": slice " + std::to_string(index + 1) + " of " + std::to_string(shape_[0]) + ": " +
                        std::to_string(broken) + " of " + std::to_string(count) +
                        " pixels are NaN or infinite; finite intensities were expected.",
                    {Remedy{"Export the series again.", {}, {}, {}}});
    }
    if (slice.whole != nullptr) {
        find_ends(slice.whole, count, lowest_[index], highest_[index]);
    } else {
        find_ends(slice.real, count, lowest_[index], highest_[index]);
    }
    float *sample = &samples_[index * sampled_];
    for (size_t row = steps_[0] / 2; row < slice.rows; row += steps_[0]) {
        for (size_t column = steps_[1] / 2; column < slice.columns; column += steps_[1]) {
            const size_t at = row * slice.columns + column;
            *sample++ = slice.whole != nullptr ? static_cast<float>(slice.whole[at]) : slice.real[at];
        }
    }
}

void Extremes::refuse_one_value() const {
    const double low = *std::min_element(lowest_.begin(), lowest_.end());
    if (low != *std::max_element(highest_.begin(), highest_.end())) return;
    throw Error(MMCAF_STUDY,
                name_ + ": each of its " + std::to_string(shape_[0] * shape_[1] * shape_[2]) + " voxels has the value " +
                    general(low) + "; there is nothing to be seen in it.",
                {Remedy{"Send the series again from its source.", {}, {}, {}}});
}

std::vector<std::string> Extremes::warnings(Intensity intensity) const {
    std::vector<std::string> found;
    if (intensity == Intensity::hounsfield) found.push_back(without_air());
    found.push_back(blank());
    found.push_back(repeated());
    const std::string mixed = within_each_other();
    found.push_back(mixed.empty() ? strays() : mixed);
    found.erase(std::remove(found.begin(), found.end(), ""), found.end());
    for (std::string &text : found) text = name_ + ": " + text;
    return found;
}

std::string Extremes::without_air() const {
    const double low = *std::min_element(lowest_.begin(), lowest_.end());
    if (low <= kHighestAir) return "";
    return "its lowest value is " + general(low) +
           " HU, where air, at -1000 HU, was expected around or within a patient; its rescale may be wrong, or the values "
           "are no Hounsfield units.";
}

std::string Extremes::blank() const {
    size_t count = 0, first = 0;
    for (size_t slice = shape_[0]; slice-- > 0;) {
        if (is_blank(slice)) ++count, first = slice;
    }
    if (count == 0) return "";
    return std::to_string(count) + " of " + std::to_string(shape_[0]) + " slices have one value each, first slice " +
           std::to_string(first + 1) + "; there is nothing to be seen in them.";
}

// Two images of one patient are never equal, for their noise; a program may have written one twice.
std::string Extremes::repeated() const {
    size_t count = 0, first = 0;
    for (size_t slice = shape_[0]; slice-- > 1;) {
        const float *mine = &samples_[slice * sampled_];
        if (!is_blank(slice) && lowest_[slice] == lowest_[slice - 1] && highest_[slice] == highest_[slice - 1] &&
            std::equal(mine, mine + sampled_, mine - sampled_)) {
            ++count, first = slice;
        }
    }
    if (count == 0) return "";
    return std::to_string(count) + " slices hold the same values as the one before them, first slice " +
           std::to_string(first + 1) + ".";
}

// Slices that resemble the second next, or one further, more than their neighbours.
std::string Extremes::within_each_other() const {
    const std::vector<float> near = shape_[0] > 1 ? differences(1) : std::vector<float>();
    for (size_t volumes = 2; volumes <= kMostVolumes && shape_[0] >= kFewestOfEach * volumes; ++volumes) {
        const std::vector<float> far = differences(volumes);
        size_t unlike = 0;
        for (size_t at = 0; at < far.size(); ++at) unlike += near[at] > kUnlike * far[at];
        if (static_cast<double>(unlike) >= kNearlyAll * static_cast<double>(far.size())) {
            const std::string many = std::to_string(volumes);
            return "each slice resembles the one " + many +
                   " slices further more than its neighbour, so that slices of " + many +
                   " volumes may lie within each other; they were read as one volume.";
        }
    }
    return "";
}

// A slice of another volume, or of another rescale, among the others; of the first and last nobody can tell.
std::string Extremes::strays() const {
    if (shape_[0] < kFewestOfEach) return "";
    const std::vector<float> near = differences(1), across = differences(2);
    size_t count = 0, first = 0;
    for (size_t at = across.size(); at-- > 0;) {
        if (std::min(near[at], near[at + 1]) > kStray * across[at] && !is_blank(at + 1)) ++count, first = at;
    }
    if (count == 0) return "";
    return std::to_string(count) + " of " + std::to_string(shape_[0]) +
           " slices differ much more from both of their neighbours than these from each other, first slice " +
           std::to_string(first + 2) + "; they may be of another volume.";
}

std::vector<float> Extremes::differences(size_t apart) const {
    std::vector<float> found, each(sampled_);
    for (size_t slice = apart; slice < shape_[0]; ++slice) {
        for (size_t at = 0; at < sampled_; ++at) {
            each[at] = std::abs(samples_[slice * sampled_ + at] - samples_[(slice - apart) * sampled_ + at]);
        }
        found.push_back(pairwise_sum(each.data(), sampled_) / static_cast<float>(sampled_));
    }
    return found;
}

}  // namespace mmcaf
