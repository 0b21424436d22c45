// A bundle, a folder or an uncompressed zip: what is read of it are bytes that were hashed for that.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "json.hpp"
#include "manifest.hpp"

namespace mmcaf {

// What the signature of a bundle tells. key: id of the key that is said to have made it, or empty. comment: the trusted one.
// verified: that very key was asked for, and has signed the manifest.
struct Origin {
    std::string key, comment;
    bool verified = false;

    std::vector<std::string> remarks() const;  // for every answer
};

// The files where they lie, of which nothing is trusted yet.
class Files {
   public:
    using Sink = std::function<void(const uint8_t *bytes, size_t count)>;

    virtual ~Files() = default;
    // Manifest or signature, which no list holds; nothing where there is none. Throws Error MMCAF_BUNDLE: it has more bytes.
    virtual std::optional<std::string> seal(const std::string &name, size_t most) const = 0;
    // Throws Error MMCAF_BUNDLE: it is missing, or not of the listed size.
    virtual void check(const std::string &name, const FileEntry &entry) const = 0;
    virtual void stream(const std::string &name, const FileEntry &entry, const Sink &sink) const = 0;
};

class Bundle {
   public:
    // The manifest is checked whole; of the other files, that they are there and have the listed sizes.
    // trusted_key: the public key that must have signed it, as minisign writes it. Without one, no signature is verified,
    // and where $MMCAF_REQUIRE_SIGNATURE asks for one, nothing is opened.
    // Throws Error MMCAF_BUNDLE, or MMCAF_USAGE for the key and the variable.
    Bundle(const std::string &path, const std::optional<std::string> &trusted_key);

    const Manifest &manifest() const { return manifest_; }
    const Json &document() const { return document_; }     // the manifest as it stands in the bundle
    const std::string &sha256() const { return sha256_; }  // of the manifest, and so of all content
    const std::string &shown() const { return shown_; }    // what messages call it
    const Origin &origin() const { return origin_; }

    bool has(const std::string &name) const { return find(manifest_.files, name) != nullptr; }

    // Bytes of a listed file that have the listed hash. Throws Error MMCAF_BUNDLE: it is missing, damaged or altered, not
    // listed, or larger than `most`.
    std::vector<uint8_t> read(const std::string &name, uint64_t most) const;

    // The same into a file that nobody else writes to, at `path`, which is made. Throws also MMCAF_USAGE: no room.
    void copy(const std::string &name, const std::string &path) const;

   private:
    const FileEntry &entry(const std::string &name) const;
    void hashed(const std::string &name, const Files::Sink &sink) const;

    std::string shown_;
    std::unique_ptr<Files> files_;
    Json document_;
    Manifest manifest_;
    std::string sha256_;
    Origin origin_;
};

// What a manifest says. Throws Error MMCAF_BUNDLE: it is invalid, holds a field that is unknown here, or is of a newer format.
Manifest parse_manifest(const Json &document, const std::string &shown);

}  // namespace mmcaf
