// Engines that OpenVINO built from a model, kept so that the next process need not build them again: the very entries of
// the Python engine (mmcaf_engine/cache/engines.py), which this library and `mmcaf-infer` keep for each other.
//
// Loading an engine is close to running code, so only an entry of this user, in a folder that nobody else may write to,
// and whose every byte has the recorded SHA-256, is loaded.
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "json.hpp"
#include "private_folder.hpp"

namespace mmcaf {

// A file in memory, copy-on-write: what is not touched costs no memory.
class Mapping {
   public:
    Mapping(const Descriptor &file, size_t size);
    Mapping(const Mapping &) = delete;
    Mapping &operator=(const Mapping &) = delete;
    ~Mapping();
    const uint8_t *data() const { return data_; }
    size_t size() const { return size_; }
    // Lets the system take back what was only copied from it; an older kernel keeps it.
    void page_out();

   private:
    uint8_t *data_;
    size_t size_;
};

// Kernels of this project in a network, and how many layers each is.
using KernelCounts = std::vector<std::pair<std::string, int>>;

struct KeptEngine {
    std::shared_ptr<Mapping> blob;
    std::string sha256;
    std::optional<KernelCounts> kernels;  // nothing where that was not recorded
};

// An engine that was written but not yet made visible.
struct EngineDraft {
    StagingFolder folder;
    std::string key, sha256;
};

class EngineCache {
   public:
    // Throws Error(MMCAF_USAGE): as make_private.
    EngineCache(Path folder, uint64_t limit);

    const Path &folder() const { return folder_; }

    // The engine kept for these facts, after checking its owner, size and SHA-256; nothing if there is none.
    // Throws Error(MMCAF_BACKEND): there is one that must not be used.
    std::optional<KeptEngine> load(const Json &facts) const;

    // Has `write` put an engine into a file that no other process sees yet.
    // Throws std::runtime_error: it would exceed the limit even alone, or cannot be written.
    EngineDraft draft(const Json &facts, const std::string &bundle, const KernelCounts &kernels,
                      const std::function<void(std::ostream &)> &write) const;

    // Makes a draft the entry of its facts, unless there is one by now, and removes what was not used for longest until
    // all fit the limit.
    void keep(EngineDraft draft) const;

    bool remove(const Json &facts) const;

   private:
    Path entry(const Json &facts) const;
    void make_room(const Path &newest) const;

    Path folder_;
    uint64_t limit_;
};

// SHA-256 of the facts as canonical JSON, together with the entries' format.
std::string engine_key(const Json &facts);

}  // namespace mmcaf
