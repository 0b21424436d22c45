// Signatures and public keys in minisign's format, as mmcaf_engine/bundle/signature.py reads them: Ed25519 over the
// BLAKE2b-512 of a file, or over the file itself, and a second one over the first and the trusted comment.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace mmcaf {

constexpr size_t MAX_SIGNATURE_BYTES = 16 * 1024;

struct PublicKey {
    std::array<uint8_t, 8> id;
    std::array<uint8_t, 32> point;

    // Of a .pub file, or of its last line alone. Throws Error MMCAF_USAGE: it is none.
    static PublicKey read(std::string_view text, const std::string &shown);

    std::string name() const;  // as minisign shows its id
};

struct Signature {
    std::array<uint8_t, 8> id;
    std::array<uint8_t, 64> value, of_comment;
    std::string comment;
    bool prehashed;

    // Throws Error MMCAF_BUNDLE: it is none.
    static Signature read(std::string_view file, const std::string &shown);

    std::string key() const;

    // Whether the owner of this very key has signed these bytes, and the trusted comment.
    bool verifies(std::string_view data, const PublicKey &key) const;
};

}  // namespace mmcaf
