// From grey values to the image input, by the manifest's constants; as mmcaf_engine/inputs/image.py has it.

#pragma once

#include <string>
#include <vector>

#include "manifest.hpp"
#include "plane.hpp"

namespace mmcaf {

// Of a plane from 0, black, to 255, white: [1, channels, rows, columns].
std::vector<float> image_input(const Plane &plane, const ImageSpec &spec);

// Looks at a plane that a caller gives. Returns warnings: on values that use little of the range from black to white.
//
// Error MMCAF_STUDY: a value that is not finite or no grey value, all of one value, or another size than 1 to 4096 pixels.
std::vector<std::string> check_plane(const Plane &plane, const std::string &name);

}  // namespace mmcaf
