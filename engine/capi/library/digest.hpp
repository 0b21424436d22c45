// SHA-256, by OpenSSL.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mmcaf {

// A digest that is fed bit by bit.
class Sha256 {
   public:
    Sha256();
    Sha256(const Sha256 &) = delete;
    Sha256 &operator=(const Sha256 &) = delete;
    ~Sha256();
    void update(const void *bytes, size_t size);
    std::string hexadecimal();  // lower case; ends it

   private:
    void *context_;
};

std::string sha256_hex(std::string_view bytes);

}  // namespace mmcaf
