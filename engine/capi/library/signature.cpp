#include "signature.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "error.hpp"

namespace mmcaf {
namespace {

const char *const COPY_AGAIN = "Copy the bundle again from its source; do not use this copy.";
constexpr std::string_view UNTRUSTED = "untrusted comment: ", TRUSTED = "trusted comment: ";

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    for (size_t at = 0; at <= text.size();) {
        const size_t end = std::min(text.find('\n', at), text.size());
        std::string_view line = text.substr(at, end - at);
        if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
        lines.push_back(line);
        at = end + 1;
    }
    return lines;
}

bool starts(std::string_view line, std::string_view with) { return line.substr(0, with.size()) == with; }

// What a line holds; nothing, if it is no base64.
std::vector<uint8_t> base64(std::string_view line) {
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (line.empty() || line.size() % 4 != 0) return {};
    const size_t padding = line[line.size() - 2] == '=' ? 2 : line.back() == '=' ? 1 : 0;
    std::vector<uint8_t> found;
    uint32_t bits = 0;
    for (size_t at = 0; at < line.size(); ++at) {
        const bool pad = at >= line.size() - padding;
        const size_t digit = pad ? 0 : alphabet.find(line[at]);
        if (digit == std::string_view::npos) return {};
        bits = bits << 6 | static_cast<uint32_t>(digit);
        if (at % 4 == 3) {
            for (const int shift : {16, 8, 0}) found.push_back(static_cast<uint8_t>(bits >> shift));
            bits = 0;
        }
    }
    found.resize(found.size() - padding);
    return found;
}

template <size_t Size> std::array<uint8_t, Size> part(const std::vector<uint8_t> &bytes, size_t at) {
    std::array<uint8_t, Size> found{};
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), Size, found.begin());
    return found;
}

std::string id_in_words(const std::array<uint8_t, 8> &id) {
    std::string text;
    for (size_t at = id.size(); at-- > 0;) {
        for (const int digit : {id[at] >> 4, id[at] & 15}) text += "0123456789ABCDEF"[digit];
    }
    return text;
}

bool signed_by(const PublicKey &key, const std::array<uint8_t, 64> &value, std::string_view data) {
    using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
    using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;
    const Key held(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.point.data(), key.point.size()),
                   EVP_PKEY_free);
    const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    return held && context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, held.get()) == 1 &&
           EVP_DigestVerify(context.get(), value.data(), value.size(), reinterpret_cast<const uint8_t *>(data.data()),
                            data.size()) == 1;
}

std::string blake2b(std::string_view data) {
    std::string digest(64, '\0');
    unsigned size = 64;
    if (EVP_Digest(data.data(), data.size(), reinterpret_cast<uint8_t *>(digest.data()), &size, EVP_blake2b512(),
                   nullptr) != 1) {
        throw Error(MMCAF_BACKEND, "OpenSSL computes no BLAKE2b here, so that no signature can be verified.");
    }
    return digest;
}

}  // namespace

PublicKey PublicKey::read(std::string_view text, const std::string &shown) {
    const std::vector<std::string_view> lines = lines_of(text);
    const std::vector<uint8_t> held = lines.size() <= 2 ? base64(lines.back()) : std::vector<uint8_t>();
    if (held.size() != 42 || held[0] != 'E' || held[1] != 'd') {
        throw Error(MMCAF_USAGE,
                    shown + ": expected a public key as minisign writes it, a comment and a line of 56 letters.",
                    {{"Name the .pub file that belongs to the secret key.", "", "", ""}});
    }
    return {part<8>(held, 2), part<32>(held, 10)};
}

std::string PublicKey::name() const { return id_in_words(id); }

Signature Signature::read(std::string_view file, const std::string &shown) {
    if (file.size() <= MAX_SIGNATURE_BYTES) {
        const std::vector<std::string_view> lines = lines_of(file);
        if (lines.size() == 4 && starts(lines[0], UNTRUSTED) && starts(lines[2], TRUSTED)) {
            const std::vector<uint8_t> held = base64(lines[1]), second = base64(lines[3]);
            if (held.size() == 74 && second.size() == 64 && held[0] == 'E' && (held[1] == 'D' || held[1] == 'd')) {
                return {part<8>(held, 2), part<64>(held, 10), part<64>(second, 0),
                        std::string(lines[2].substr(TRUSTED.size())), held[1] == 'D'};
            }
        }
    }
    throw Error(MMCAF_BUNDLE, shown + ": damaged: expected a signature as minisign writes it, of four lines.",
                {{COPY_AGAIN, "", "", ""}});
}

std::string Signature::key() const { return id_in_words(id); }

bool Signature::verifies(std::string_view data, const PublicKey &key) const {
    const std::string covered = std::string(reinterpret_cast<const char *>(value.data()), value.size()) + comment;
    return id == key.id && signed_by(key, value, prehashed ? blake2b(data) : std::string(data)) &&
           signed_by(key, of_comment, covered);
}

}  // namespace mmcaf
