// Zip files of unknown origin (APPNOTE.TXT of PKWARE, 6.3): a member is read when it is asked for, never more than it says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace mmcaf {

// It is no intact zip; the message says why, without its name.
class ZipFault : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

class Zip {
   public:
    struct Member {
        std::string name;
        uint64_t packed, size, header;  // bytes in the file, bytes of the member, where its header is
        uint32_t crc;
        bool deflated;
    };
    // Fills `into` with the bytes from an offset on, which lie within the file's size. May throw.
    using Reader = std::function<void(uint64_t offset, uint8_t *into, size_t count)>;
    using Sink = std::function<void(const uint8_t *bytes, size_t count)>;

    // Throws ZipFault: it is none, it is encrypted, compressed in another way than by deflate, or has more members.
    Zip(uint64_t size, Reader read, size_t most_members);

    // Of bytes in memory, which must outlive it.
    static Zip of(const std::vector<uint8_t> &bytes, size_t most_members);

    const std::vector<Member> &members() const { return members_; }
    const Member *find(const std::string &name) const;  // nullptr without

    // Hands over a member block by block, unpacked. Throws ZipFault: it is damaged; what came before is to be dropped.
    void stream(const Member &member, const Sink &sink) const;

    // Throws ZipFault: as `stream`, or there are more than `most` bytes.
    std::vector<uint8_t> read(const Member &member, uint64_t most) const;

   private:
    std::vector<uint8_t> bytes(uint64_t offset, size_t count) const;
    void read_directory(uint64_t offset, uint64_t length, uint64_t count);
    uint64_t content(const Member &member) const;

    uint64_t size_;
    Reader read_;
    std::vector<Member> members_;
};

}  // namespace mmcaf
