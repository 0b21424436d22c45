#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "beside.hpp"
#include "manifest.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

// Coding scheme designator of what no terminology was named for; private, as 99 at its beginning says (PS3.16 8.2).
constexpr const char *private_scheme = "99MMCAF";
// Characters of CodeValue (0008,0100) and of CodeMeaning (0008,0104), by their value representations SH and LO.
constexpr size_t longest_value = 16, longest_meaning = 64;

std::vector<uint8_t> digest(const EVP_MD *kind, const std::string &text) {
    std::array<uint8_t, EVP_MAX_MD_SIZE> bytes;
    unsigned int size = 0;
    if (EVP_Digest(text.data(), text.size(), bytes.data(), &size, kind, nullptr) != 1)
        throw std::runtime_error("a digest cannot be computed");
    return {bytes.begin(), bytes.begin() + size};
}

// A code of our own scheme: the beginning of the meaning's SHA-256, so that one meaning has one code.
Code private_code(std::string meaning) {
    static const char digits[] = "0123456789ABCDEF";
    std::string value;
    for (const uint8_t byte : digest(EVP_sha256(), meaning)) {
        value += digits[byte >> 4];
        value += digits[byte & 15];
    }
    std::replace(meaning.begin(), meaning.end(), '\\', '/');
    return {private_scheme, value.substr(0, longest_value), beginning(meaning, longest_meaning)};
}

// Of a number of 128 bits, its first byte the highest.
std::string decimal(std::vector<uint8_t> number) {
    std::string text;
    while (std::any_of(number.begin(), number.end(), [](uint8_t byte) { return byte != 0; })) {
        unsigned int rest = 0;
        for (uint8_t &byte : number) {
            const unsigned int value = rest * 256 + byte;
            byte = static_cast<uint8_t>(value / 10);
            rest = value % 10;
        }
        text.insert(text.begin(), static_cast<char>('0' + rest));
    }
    return text.empty() ? "0" : text;
}

}  // namespace

Named<Code> label_codes(const Manifest &manifest) {
    Named<Code> found;
    for (const auto &label : manifest.labels) {
        const Code *given = find(manifest.label_codes, label);
        found.emplace_back(label, given == nullptr ? private_code(label) : *given);
    }
    return found;
}

std::string device_uid(const std::string &bundle_sha256) {
    // RFC 9562 5.5: SHA-1 of the namespace, here that of URLs, and the name.
    static const std::string urls("\x6b\xa7\xb8\x11\x9d\xad\x11\xd1\x80\xb4\x00\xc0\x4f\xd4\x30\xc8", 16);
    std::vector<uint8_t> uuid = digest(EVP_sha1(), urls + "urn:sha256:" + bundle_sha256);
    uuid.resize(16);
    uuid[6] = static_cast<uint8_t>((uuid[6] & 0x0f) | 0x50);  // Version 5
    uuid[8] = static_cast<uint8_t>((uuid[8] & 0x3f) | 0x80);  // of the RFC's variant.
    return "2.25." + decimal(uuid);
}

}  // namespace mmcaf
