#include "bundle.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "digest.hpp"
#include "files.hpp"
#include "settings.hpp"
#include "signature.hpp"

namespace mmcaf {
namespace {

constexpr size_t MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
constexpr int64_t FORMAT_VERSION = 2;
const char *const MANIFEST = "manifest.json", *const SIGNATURE = "manifest.json.minisig";
const Remedy COPY_AGAIN{"Copy the bundle again from its source; do not use this copy.", "", "", ""};

const char *const REQUIRED =
    "only bundles that a trusted key has signed are opened here (require_signature of $MMCAF_REQUIRE_SIGNATURE)";

// Throws as Bundle.
Origin origin_of(const std::string &manifest, const std::optional<std::string> &signature,
                 const std::optional<std::string> &trusted_key, const std::string &shown) {
    const bool required = signature_required();
    std::optional<PublicKey> key;
    if (trusted_key) key = PublicKey::read(*trusted_key, "trusted_key");
    if (!signature) {
        if (!key && !required) return {};
        const std::string why = key ? "only a bundle that the key " + key->name() + " has signed is asked for" : REQUIRED;
        throw Error(MMCAF_BUNDLE, shown + ": not signed; " + why + ".",
                    {{"Ask its makers for a signed one or, if they are you, sign it", "", "", "mmcaf sign BUNDLE --key FILE"}});
    }
    const Signature found = Signature::read(*signature, shown + ": its signature");
    const Remedy name_it{"If that is a key of its makers, name it", "trusted_key", "", ""};
    Origin origin;
    origin.key = found.key();
    if (!key) {
        if (!required) return origin;
        throw Error(MMCAF_BUNDLE,
                    shown + ": signed with the key " + found.key() + ", which is not trusted here; " + REQUIRED + ".",
                    {name_it});
    }
    if (key->id != found.id) {
        throw Error(MMCAF_BUNDLE,
                    shown + ": signed with the key " + found.key() + "; the key that is asked for is " + key->name() + ".",
                    {name_it});
    }
    if (!found.verifies(manifest, *key)) {
        throw Error(MMCAF_BUNDLE,
                    shown + ": altered: its signature names the key " + found.key() + ", which has not signed this manifest.",
                    {COPY_AGAIN});
    }
    origin.comment = found.comment;
    origin.verified = true;
    return origin;
}

void check_format(const Json &document, const std::string &name) {
    const Json *version = document.is(Json::Kind::object) ? document.find("format_version") : nullptr;
    if (version == nullptr || !version->is(Json::Kind::integer) || version->integer() < 1) {
        throw Error(MMCAF_BUNDLE, name + ": no format_version; this is not a bundle's manifest.");
    }
    if (version->integer() > FORMAT_VERSION) {
        throw Error(MMCAF_BUNDLE,
                    name + ": bundle format " + version->text() + "; this library reads up to " +
                        std::to_string(FORMAT_VERSION) + ".",
                    {{"Use a newer library.", "", "", ""}});
    }
}

}  // namespace

std::vector<std::string> Origin::remarks() const {
    if (key.empty() || verified) return {};
    return {"The bundle is signed with the key " + key +
            ", which is not trusted here, so that nothing of it is verified."};
}

Bundle::Bundle(const std::string &path, const std::optional<std::string> &trusted_key)
    : shown_(path), files_(open_files(path)) {
    const std::string name = path + "/" + MANIFEST;
    const std::optional<std::string> sealed = files_->seal(MANIFEST, MAX_MANIFEST_BYTES);
    if (!sealed) throw Error(MMCAF_BUNDLE, name + ": no such file.", {{"Check the path.", "", "", ""}});
    origin_ = origin_of(*sealed, files_->seal(SIGNATURE, MAX_SIGNATURE_BYTES), trusted_key, path);
    document_ = parse_json(*sealed, name, MMCAF_BUNDLE, MAX_MANIFEST_BYTES);
    check_format(document_, name);
    manifest_ = parse_manifest(document_, path);
    sha256_ = sha256_hex(*sealed);
    for (const auto &[listed, entry] : manifest_.files) files_->check(listed, entry);
}

const FileEntry &Bundle::entry(const std::string &name) const {
    const FileEntry *found = find(manifest_.files, name);
    if (found == nullptr) throw Error(MMCAF_BUNDLE, shown_ + ": the manifest lists no file " + name + ".");
    return *found;
}

void Bundle::hashed(const std::string &name, const Files::Sink &sink) const {
    const FileEntry &listed = entry(name);
    Sha256 digest;
    files_->stream(name, listed, [&](const uint8_t *bytes, size_t count) {
        digest.update(bytes, count);
        sink(bytes, count);
    });
    const std::string found = digest.hexadecimal();
    if (found != listed.sha256) {
        throw Error(MMCAF_BUNDLE,
                    shown_ + ": " + name + " is damaged or altered: SHA-256 " + found.substr(0, 16) +
                        "..., the manifest has " + listed.sha256.substr(0, 16) + "...",
                    {COPY_AGAIN});
    }
}

std::vector<uint8_t> Bundle::read(const std::string &name, uint64_t most) const {
    const uint64_t size = entry(name).size;
    if (size > most) {
        throw Error(MMCAF_BUNDLE, shown_ + ": " + name + " has " + std::to_string(size) + " bytes; at most " +
                                      std::to_string(most) + " are read.");
    }
    std::vector<uint8_t> found;
    found.reserve(static_cast<size_t>(size));
    hashed(name, [&](const uint8_t *bytes, size_t count) { found.insert(found.end(), bytes, bytes + count); });
    return found;
}

void Bundle::copy(const std::string &name, const std::string &path) const {
    const auto refuse = [&] {
        throw Error(MMCAF_USAGE, shown_ + ": " + name + " cannot be copied: " + std::strerror(errno) + ".",
                    {{"Make room, or name another folder", "cache", "", ""}});
    };
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) refuse();
    struct Close {
        int file;
        ~Close() { ::close(file); }
    } close{file};
    hashed(name, [&](const uint8_t *bytes, size_t count) {
        while (count != 0) {
            const ssize_t more = ::write(file, bytes, count);
            if (more < 0 && errno == EINTR) continue;
            if (more < 0) refuse();
            bytes += more;
            count -= static_cast<size_t>(more);
        }
    });
}

}  // namespace mmcaf
