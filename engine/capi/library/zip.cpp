#include "zip.hpp"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace mmcaf {
namespace {

constexpr size_t BLOCK = 1 << 20;
constexpr size_t END = 22, LOCATOR = 20, END_64 = 56, ENTRY = 46, LOCAL = 30;  // bytes of each record without its texts
constexpr size_t LONGEST_COMMENT = 65535;
constexpr uint64_t MOST_DIRECTORY = 16 << 20;
constexpr uint16_t STORED = 0, DEFLATED = 8, ENCRYPTED = 1, ZIP_64 = 1;

uint64_t number(const uint8_t *bytes, size_t width) {
    uint64_t found = 0;
    for (size_t at = 0; at < width; ++at) found |= static_cast<uint64_t>(bytes[at]) << (8 * at);
    return found;
}

bool begins(const uint8_t *bytes, const char *signature) { return std::memcmp(bytes, signature, 4) == 0; }

// Sizes and offset that do not fit 32 bits stand in an extra field, each that has no room, in this order.
void widen(const uint8_t *extra, size_t length, const std::vector<uint64_t *> &narrow) {
    for (size_t at = 0; at + 4 <= length;) {
        const size_t size = number(extra + at + 2, 2);
        if (size > length - at - 4) break;
        if (number(extra + at, 2) == ZIP_64) {
            size_t place = 0;
            for (uint64_t *value : narrow) {
                if (*value != 0xFFFFFFFF) continue;
                if (place + 8 > size) throw ZipFault("a member of 64 bits lacks its size");
                *value = number(extra + at + 4 + place, 8);
                place += 8;
            }
            return;
        }
        at += 4 + size;
    }
    for (const uint64_t *value : narrow) {
        if (*value == 0xFFFFFFFF) throw ZipFault("a member of 64 bits lacks its size");
    }
}

}  // namespace

Zip::Zip(uint64_t size, Reader read, size_t most_members) : size_(size), read_(std::move(read)) {
    if (size < END) throw ZipFault("File is not a zip file");
    const size_t length = static_cast<size_t>(std::min<uint64_t>(size, END + LONGEST_COMMENT));
    const std::vector<uint8_t> tail = bytes(size - length, length);
    size_t at = length - END;
    while (!(begins(tail.data() + at, "PK\5\6") && number(tail.data() + at + 20, 2) <= length - at - END)) {
        if (at-- == 0) throw ZipFault("File is not a zip file");
    }
    const uint8_t *end = tail.data() + at;
    uint64_t count = number(end + 10, 2), directory = number(end + 12, 4), offset = number(end + 16, 4);
    const uint64_t place = size - length + at;
    if (place >= LOCATOR && (count == 0xFFFF || directory == 0xFFFFFFFF || offset == 0xFFFFFFFF)) {
        const std::vector<uint8_t> locator = bytes(place - LOCATOR, LOCATOR);
        if (begins(locator.data(), "PK\6\7")) {
            const std::vector<uint8_t> wide = bytes(number(locator.data() + 8, 8), END_64);
            if (!begins(wide.data(), "PK\6\6")) throw ZipFault("its directory of 64 bits is not where it is said to be");
            count = number(wide.data() + 32, 8);
            directory = number(wide.data() + 40, 8);
            offset = number(wide.data() + 48, 8);
        }
    }
    if (count > most_members) {
        throw ZipFault(std::to_string(count) + " members; at most " + std::to_string(most_members) + " are expected");
    }
    read_directory(offset, directory, count);
}

Zip Zip::of(const std::vector<uint8_t> &bytes, size_t most_members) {
    const auto read = [&bytes](uint64_t offset, uint8_t *into, size_t count) {
        std::memcpy(into, bytes.data() + offset, count);
    };
    return Zip(bytes.size(), read, most_members);
}

const Zip::Member *Zip::find(const std::string &name) const {
    const auto found = std::find_if(members_.begin(), members_.end(), [&](const Member &one) { return one.name == name; });
    return found == members_.end() ? nullptr : &*found;
}

std::vector<uint8_t> Zip::bytes(uint64_t offset, size_t count) const {
    if (offset > size_ || count > size_ - offset) throw ZipFault("it is cut short");
    std::vector<uint8_t> found(count);
    if (count != 0) read_(offset, found.data(), count);
    return found;
}

void Zip::read_directory(uint64_t offset, uint64_t length, uint64_t count) {
    if (length > MOST_DIRECTORY) throw ZipFault("its directory has " + std::to_string(length) + " bytes");
    const std::vector<uint8_t> directory = bytes(offset, static_cast<size_t>(length));
    size_t at = 0;
    for (uint64_t index = 0; index < count; ++index) {
        const uint8_t *entry = directory.data() + at;
        if (at > directory.size() || directory.size() - at < ENTRY || !begins(entry, "PK\1\2")) {
            throw ZipFault("Bad magic number for central directory");
        }
        const size_t name = number(entry + 28, 2), extra = number(entry + 30, 2), comment = number(entry + 32, 2);
        if (directory.size() - at - ENTRY < name + extra + comment) throw ZipFault("Truncated central directory");
        const uint64_t method = number(entry + 10, 2);
        Member member{std::string(reinterpret_cast<const char *>(entry) + ENTRY, name),
                      number(entry + 20, 4), number(entry + 24, 4), number(entry + 42, 4),
                      static_cast<uint32_t>(number(entry + 16, 4)), method == DEFLATED};
        if (number(entry + 8, 2) & ENCRYPTED) throw ZipFault("a member is encrypted");
        if (method != STORED && method != DEFLATED) throw ZipFault("That compression method is not supported");
        widen(entry + ENTRY + name, extra, {&member.size, &member.packed, &member.header});
        if (!member.deflated && member.packed != member.size) throw ZipFault("a member has two sizes");
        members_.push_back(std::move(member));
        at += ENTRY + name + extra + comment;
    }
}

// Where the bytes of a member begin: behind its own header, which must name it.
uint64_t Zip::content(const Member &member) const {
    const std::vector<uint8_t> header = bytes(member.header, LOCAL);
    if (!begins(header.data(), "PK\3\4")) throw ZipFault("Bad magic number for file header");
    const size_t name = number(header.data() + 26, 2), extra = number(header.data() + 28, 2);
    const std::vector<uint8_t> named = bytes(member.header + LOCAL, name);
    if (std::string(named.begin(), named.end()) != member.name) {
        throw ZipFault("File name in directory and header differ");
    }
    const uint64_t begin = member.header + LOCAL + name + extra;
    if (begin > size_ || member.packed > size_ - begin) throw ZipFault("it is cut short");
    return begin;
}

void Zip::stream(const Member &member, const Sink &sink) const {
    uint64_t at = content(member), left = member.packed, given = 0;
    uLong crc = crc32(0, nullptr, 0);
    const auto give = [&](const uint8_t *found, size_t count) {
        given += count;
        if (given > member.size) throw ZipFault("a member is longer than it says");
        crc = crc32_z(crc, found, count);
        sink(found, count);
    };
    z_stream inflating{};
    // Without zlib's own header around it.
    if (member.deflated && inflateInit2(&inflating, -MAX_WBITS) != Z_OK) throw ZipFault("no memory is left to unpack it");
    struct End {
        z_stream *stream;
        ~End() {
            if (stream) inflateEnd(stream);
        }
    } end{member.deflated ? &inflating : nullptr};
    std::vector<uint8_t> unpacked(member.deflated ? BLOCK : 0);
    int state = Z_OK;
    while (left != 0 && state == Z_OK) {
        std::vector<uint8_t> block = bytes(at, static_cast<size_t>(std::min<uint64_t>(left, BLOCK)));
        at += block.size();
        left -= block.size();
        if (!member.deflated) {
            give(block.data(), block.size());
            continue;
        }
        inflating.next_in = block.data();
        inflating.avail_in = static_cast<uInt>(block.size());
        do {
            inflating.next_out = unpacked.data();
            inflating.avail_out = static_cast<uInt>(unpacked.size());
            state = inflate(&inflating, Z_NO_FLUSH);
            if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR) throw ZipFault("a member is damaged");
            give(unpacked.data(), unpacked.size() - inflating.avail_out);
        } while (state == Z_OK && inflating.avail_out == 0);
        if (state == Z_BUF_ERROR) state = Z_OK;  // It wants more bytes.
    }
    if (given != member.size || crc != member.crc || (member.deflated && state != Z_STREAM_END)) {
        throw ZipFault("Bad CRC-32 for a member");
    }
}

std::vector<uint8_t> Zip::read(const Member &member, uint64_t most) const {
    if (member.size > most) {
        throw ZipFault("a member has " + std::to_string(member.size) + " bytes; at most " + std::to_string(most));
    }
    std::vector<uint8_t> found;
    found.reserve(static_cast<size_t>(std::min<uint64_t>(member.size, member.deflated ? BLOCK : member.packed)));
    stream(member, [&](const uint8_t *bytes, size_t count) { found.insert(found.end(), bytes, bytes + count); });
    return found;
}

}  // namespace mmcaf
