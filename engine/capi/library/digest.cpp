#include "digest.hpp"

#include <stdexcept>

#include <openssl/evp.h>

namespace mmcaf {

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
    if (context_ == nullptr || EVP_DigestInit_ex(static_cast<EVP_MD_CTX *>(context_), EVP_sha256(), nullptr) != 1) {
        EVP_MD_CTX_free(static_cast<EVP_MD_CTX *>(context_));
        throw std::runtime_error("OpenSSL gives no SHA-256");
    }
}

Sha256::~Sha256() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX *>(context_)); }

void Sha256::update(const void *bytes, size_t size) {
    if (EVP_DigestUpdate(static_cast<EVP_MD_CTX *>(context_), bytes, size) != 1) {
        throw std::runtime_error("OpenSSL's SHA-256 failed");
    }
}

std::string Sha256::hexadecimal() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (EVP_DigestFinal_ex(static_cast<EVP_MD_CTX *>(context_), digest, &size) != 1) {
        throw std::runtime_error("OpenSSL's SHA-256 failed");
    }
    static const char *const digits = "0123456789abcdef";
    std::string text;
    for (unsigned int at = 0; at < size; ++at) {
        text += digits[digest[at] >> 4];
        text += digits[digest[at] & 15];
    }
    return text;
}

std::string sha256_hex(std::string_view bytes) {
    Sha256 digest;
    digest.update(bytes.data(), bytes.size());
    return digest.hexadecimal();
}

}  // namespace mmcaf
