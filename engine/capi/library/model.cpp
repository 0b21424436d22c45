#include "model.hpp"

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#include "error.hpp"
#include "external_data.hpp"
#include "private_folder.hpp"

namespace mmcaf {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t MAX_MODEL_BYTES = uint64_t{1} << 31;  // What a message of Protocol Buffers holds.

Error foreign_weights(const Bundle &bundle, const std::string &model, const std::string &location,
                      const std::vector<std::string> &weights) {
    std::string expected;
    for (const std::string &name : weights) expected += (expected.empty() ? "" : " or ") + name;
    return Error(MMCAF_BUNDLE,
                 bundle.shown() + ": " + model + " reads weights from '" + location.substr(0, 200) + "', expected " +
                     (expected.empty() ? "the model itself" : expected) + ": no hash is known of any other file.",
                 {Remedy{"Export the bundle again.", "", "", ""}});
}

// Where it reads weights from, relative to the bundle. Throws as read_model.
void check_weights(const Bundle &bundle, const std::vector<std::string> &files, const std::vector<uint8_t> &bytes) {
    const std::string &model = files.front();
    const std::vector<std::string> weights(files.begin() + 1, files.end());
    std::set<std::string> locations;
    try {
        locations = external_locations(bytes.data(), bytes.size());
    } catch (const std::invalid_argument &fault) {
        throw Error(MMCAF_BUNDLE, model + ": not an ONNX model: " + fault.what() + ".",
                    {Remedy{"Export the bundle again.", "", "", ""}});
    }
    for (const std::string &location : locations) {
        const std::string named = (fs::path(model).parent_path() / location).string();
        const bool listed = std::find(weights.begin(), weights.end(), named) != weights.end();
        if (!listed || location.find('\\') != std::string::npos) throw foreign_weights(bundle, model, location, weights);
    }
}

// Reads a model with weights beside it, which OpenVINO takes from files alone, from copies in a folder of this process's
// own. What is mapped outlives its name.
std::shared_ptr<ov::Model> read_copies(ov::Core &core, const Bundle &bundle, const std::vector<std::string> &files) {
    const Remedy other{"Make room there, or name another folder", "", "", "export TMPDIR=/path/to/folder"};
    try {
        const Path parent = fs::temp_directory_path();
        expect_own_parents(parent / "copies", "temporary", other);  // Whoever changes hashed copies chooses the weights.
        const StagingFolder folder(parent);
        for (const std::string &name : files) {
            fs::create_directories((folder.path() / name).parent_path());
            bundle.copy(name, (folder.path() / name).string());
        }
        return core.read_model((folder.path() / files.front()).string());
    } catch (const std::system_error &failure) {
        throw Error(MMCAF_USAGE, bundle.shown() + ": its weights cannot be copied: " + failure.code().message() + ".",
                    {other});
    }
}

}  // namespace

std::vector<std::string> model_files(const Manifest &manifest, const std::string &precision) {
    const std::string model = *find(manifest.models, precision);
    std::vector<std::string> files{model};
    if (find(manifest.files, model + ".data") != nullptr) files.push_back(model + ".data");
    return files;
}

std::shared_ptr<ov::Model> read_model(ov::Core &core, const Bundle &bundle, const std::string &precision) {
    const std::vector<std::string> files = model_files(bundle.manifest(), precision);
    const std::vector<uint8_t> bytes = bundle.read(files.front(), MAX_MODEL_BYTES);
    check_weights(bundle, files, bytes);
    if (files.size() > 1) return read_copies(core, bundle, files);
    return core.read_model(std::string(bytes.begin(), bytes.end()), ov::Tensor());
}

}  // namespace mmcaf
