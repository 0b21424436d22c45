#include "image.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "error.hpp"
#include "resize.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

constexpr float kWhite = 255;
constexpr double kPart = 0.25 * 255;  // an image all darker, all brighter than the rest, or of values this close
constexpr double kBetween = 0.2;      // share of the pixels of a radiograph between black and white
constexpr double kStray = 0.001;      // share that may be a marker or dead elements of the detector

[[noreturn]] void refuse(const std::string &problem, const std::string &remedy) {
    throw Error(MMCAF_STUDY, problem, {Remedy{remedy, {}, {}, {}}});
}

std::string unused_range(const Plane &plane, double low, double high) {
    std::array<double, 256> counts{};
    double between = 0;
    for (const float value : plane.values) {
        ++counts[static_cast<size_t>(value)];
        between += value > 0 && value < kWhite;
    }
    for (size_t at = 1; at < counts.size(); ++at) counts[at] += counts[at - 1];
    const auto size = static_cast<double>(plane.values.size()), stray = kStray * size;
    // Whole grey values, but where no pixel is stray the exact ones.
    const double dark = std::max(
        low, static_cast<double>(std::upper_bound(counts.begin(), counts.end(), stray) - counts.begin()));
    const double bright = std::min(
        high, static_cast<double>(std::lower_bound(counts.begin(), counts.end(), size - stray) - counts.begin()));
    if (bright < kPart) return "its brightest pixel is " + fixed(bright, 1) + " of 255";
    if (dark > kWhite - kPart) return "its darkest pixel is " + fixed(dark, 1) + " of 255";
    if (bright - dark < kPart) {
        return "its grey values run from " + fixed(dark, 1) + " to " + fixed(bright, 1) + " of 255 only";
    }
    if (between < kBetween * size) return fixed(100 * between / size, 1) + " % of its pixels lie between black and white";
    return "";
}

}  // namespace

std::vector<float> image_input(const Plane &plane, const ImageSpec &spec) {
    const Plane resized = resize_bilinear(plane, spec.rows, spec.columns);
    std::vector<float> values;
    values.reserve(spec.channels * resized.values.size());
    for (size_t channel = 0; channel < spec.channels; ++channel) {
        const auto mean = static_cast<float>(spec.mean[channel]), deviation = static_cast<float>(spec.std[channel]);
        for (const float grey : resized.values) values.push_back((grey / kWhite - mean) / deviation);
    }
    return values;
}

std::vector<std::string> check_plane(const Plane &plane, const std::string &name) {
    if (std::min(plane.rows, plane.columns) < 1 || std::max(plane.rows, plane.columns) > kMostPixels) {
        refuse(name + ": expected rows x columns, each 1 to " + std::to_string(kMostPixels) + ", got " +
                   by_axes(std::array<size_t, 2>{plane.rows, plane.columns}) + ".",
               "Give one grey plane.");
    }
    size_t broken = 0;
    for (const float value : plane.values) broken += !(value >= 0 && value <= kWhite);
    if (broken > 0) {
        refuse(name + ": " + std::to_string(broken) + " of " + std::to_string(plane.values.size()) +
                   " pixels are no grey values; values from 0, black, to 255, white, were expected.",
               "Apply the image's rescale and window, and invert MONOCHROME1.");
    }
    const auto [low, high] = std::minmax_element(plane.values.begin(), plane.values.end());
    if (*low == *high) {
        refuse(name + ": every pixel has the grey value " + general(*low) + "; there is nothing to be seen in it.",
               "Send the radiograph again from its source.");
    }
    const std::string unused = unused_range(plane, *low, *high);
    if (unused.empty()) return {};
    return {name + ": " + unused + "; its values may be of fewer bits than the file says, or its window lies beside them."};
}

}  // namespace mmcaf
