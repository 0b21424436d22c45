// This project's kernels as operators of OpenVINO: the library that holds them, and what tells its state from another's.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <openvino/core/op_extension.hpp>
#include <openvino/runtime/core.hpp>

namespace mmcaf {

class Kernels {
   public:
    // Loads the library at a path, "" for none, or without a path the one beside libmmcaf, if there is one that serves
    // the OpenVINO of this process.
    // Throws Error(MMCAF_BACKEND): the one that was named cannot be used; Error(MMCAF_USAGE): as kernels_allowed.
    static Kernels load(const std::optional<std::string> &named);

    // Why networks are left to OpenVINO's own operators, in words; "" where they are not.
    const std::string &missing() const { return missing_; }
    bool present() const { return missing_.empty(); }

    // What the keys of kept engines say of them; "none" without.
    const std::string &fingerprint() const { return fingerprint_; }

    // The state of what puts operators into a network that this library was built beside.
    const std::string &placing() const { return placing_; }

    void add_to(ov::Core &core) const;

    // Throws std::invalid_argument: no operator of this name.
    const ov::BaseOpExtension &operator_named(const std::string &name) const;

   private:
    explicit Kernels(std::string missing) : missing_(std::move(missing)), fingerprint_("none") {}
    explicit Kernels(const std::filesystem::path &file);

    std::string missing_, fingerprint_, placing_;
    std::vector<ov::Extension::Ptr> operators_;
};

// The release of OpenVINO in this process, such as 2026.4.1, and the version with its build.
std::string openvino_release();
std::string openvino_build();

// Which kernels a compiled network runs with, and how many layers each is.
std::vector<std::pair<std::string, int>> kernels_in(const ov::CompiledModel &network);

}  // namespace mmcaf
