#include "files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "text.hpp"
#include "zip.hpp"

namespace mmcaf {
namespace {

const Remedy COPY_AGAIN{"Copy the bundle again from its source; do not use this copy.", "", "", ""};
constexpr size_t MOST_MEMBERS = 1002;  // the files that a manifest may list, the manifest and its signature
constexpr size_t BLOCK = 1 << 20;

// A descriptor that is closed.
class Open {
   public:
    explicit Open(int descriptor) : descriptor_(descriptor) {}
    Open(const Open &) = delete;
    Open &operator=(const Open &) = delete;
    ~Open() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    int operator*() const { return descriptor_; }

   private:
    int descriptor_;
};

[[noreturn]] void unreadable(const std::string &path, int reason) {
    throw Error(MMCAF_BUNDLE, path + ": cannot be read: " + std::strerror(reason) + ".",
                {{"Check the path and the rights of this user.", "", "", ""}});
}

[[noreturn]] void missing(const std::string &shown, const std::string &name, const FileEntry &entry) {
    throw Error(MMCAF_BUNDLE,
                shown + ": " + name + " is missing (listed in the manifest with " + std::to_string(entry.size) + " bytes).",
                {COPY_AGAIN});
}

void check_size(const std::string &shown, const std::string &name, uint64_t size, const FileEntry &entry) {
    if (size != entry.size) {
        throw Error(MMCAF_BUNDLE,
                    shown + ": " + name + " has " + std::to_string(size) + " bytes; the manifest says " +
                        std::to_string(entry.size) + ".",
                    {COPY_AGAIN});
    }
}

// Reads on until there are so many bytes, or no more; how many there are.
size_t read_some(int descriptor, uint8_t *into, size_t count, const std::string &path) {
    size_t done = 0;
    while (done < count) {
        const ssize_t more = ::read(descriptor, into + done, count - done);
        if (more < 0 && errno == EINTR) continue;
        if (more < 0) unreadable(path, errno);
        if (more == 0) break;
        done += static_cast<size_t>(more);
    }
    return done;
}

class Folder : public Files {
   public:
    explicit Folder(std::string path) : path_(std::move(path)) {}

    std::optional<std::string> seal(const std::string &name, size_t most) const override {
        const std::string path = path_ + "/" + name;
        const Open file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        struct stat found;
        if (*file < 0 && errno == ENOENT) return std::nullopt;
        if (*file < 0 || ::fstat(*file, &found) != 0) unreadable(path, errno);
        if (!S_ISREG(found.st_mode)) {
            throw Error(MMCAF_BUNDLE, path + ": expected a file, got something else.", {{"Check the path.", "", "", ""}});
        }
        std::string bytes(std::min<uint64_t>(static_cast<uint64_t>(found.st_size), most) + 1, '\0');
        bytes.resize(read_some(*file, reinterpret_cast<uint8_t *>(bytes.data()), bytes.size(), path));
        if (bytes.size() > most) {
            throw Error(MMCAF_BUNDLE, path + ": has more than " + std::to_string(most) + " bytes.", {COPY_AGAIN});
        }
        return bytes;
    }

    void check(const std::string &name, const FileEntry &entry) const override {
        struct stat found;
        if (::lstat((path_ + "/" + name).c_str(), &found) != 0 || !S_ISREG(found.st_mode)) missing(path_, name, entry);
        check_size(path_, name, static_cast<uint64_t>(found.st_size), entry);
    }

    void stream(const std::string &name, const FileEntry &entry, const Sink &sink) const override {
        const std::string path = path_ + "/" + name;
        const Open file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
        struct stat found;
        if (*file < 0 && (errno == ENOENT || errno == ELOOP)) missing(path_, name, entry);
        if (*file < 0 || ::fstat(*file, &found) != 0) unreadable(path, errno);
        if (!S_ISREG(found.st_mode)) missing(path_, name, entry);
        check_size(path_, name, static_cast<uint64_t>(found.st_size), entry);
        std::vector<uint8_t> block(static_cast<size_t>(std::min<uint64_t>(entry.size, BLOCK)));
        for (uint64_t left = entry.size; left != 0;) {
            const size_t wanted = static_cast<size_t>(std::min<uint64_t>(left, block.size()));
            const size_t count = read_some(*file, block.data(), wanted, path);
            if (count == 0) check_size(path_, name, entry.size - left, entry);
            sink(block.data(), count);
            left -= count;
        }
    }

   private:
    std::string path_;
};

class Zipped : public Files {
   public:
    explicit Zipped(const std::string &path) : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        struct stat found;
        if (*file_ < 0 || ::fstat(*file_, &found) != 0) unreadable(path, errno);
        intact([&] {
            const auto read = [this](uint64_t offset, uint8_t *into, size_t count) { read_at(offset, into, count); };
            zip_ = std::make_unique<Zip>(static_cast<uint64_t>(found.st_size), read, MOST_MEMBERS);
            std::set<std::string> names;  // Another program may read another member of a name than this one does.
            for (const Zip::Member &one : zip_->members()) {
                if (!names.insert(casefold(one.name)).second) throw ZipFault("2 members of the name " + one.name);
            }
        });
    }

    std::optional<std::string> seal(const std::string &name, size_t most) const override {
        if (zip_->find(name) == nullptr) return std::nullopt;
        std::string bytes;
        intact([&] {
            const std::vector<uint8_t> found = zip_->read(member(name, most), most);
            bytes.assign(found.begin(), found.end());
        });
        return bytes;
    }

    void check(const std::string &name, const FileEntry &entry) const override { member(name, entry.size); }

    void stream(const std::string &name, const FileEntry &entry, const Sink &sink) const override {
        const Zip::Member &found = member(name, entry.size);
        check_size(path_, name, found.size, entry);
        intact([&] { zip_->stream(found, sink); });
    }

   private:
    const Zip::Member &member(const std::string &name, uint64_t limit) const {
        const Zip::Member *found = zip_->find(name);
        if (found == nullptr) throw Error(MMCAF_BUNDLE, path_ + ": " + name + " is missing from the zip.", {COPY_AGAIN});
        if (found->deflated || found->size > limit) {
            throw Error(MMCAF_BUNDLE,
                        path_ + ": " + name + " is " + std::to_string(found->size) +
                            " bytes in the zip, compressed or over the expected " + std::to_string(limit) + ".",
                        {{"Zip bundles without compression", "", "", "zip -0 -r NAME.zip ."}});
        }
        return *found;
    }

    void read_at(uint64_t offset, uint8_t *into, size_t count) const {
        while (count != 0) {
            const ssize_t more = ::pread(*file_, into, count, static_cast<off_t>(offset));
            if (more < 0 && errno == EINTR) continue;
            if (more < 0) unreadable(path_, errno);
            if (more == 0) throw ZipFault("it is cut short");
            offset += static_cast<uint64_t>(more);
            into += more;
            count -= static_cast<size_t>(more);
        }
    }

    template <class Work> void intact(const Work &work) const {
        try {
            work();
        } catch (const ZipFault &failure) {
            throw Error(MMCAF_BUNDLE,
                        path_ + ": neither a bundle directory nor an intact zip of one (" + failure.what() + ").",
                        {{"Copy the bundle again, or make one", "", "", "mmcaf export CHECKPOINT -o NAME.mmcaf"}});
        }
    }

    std::string path_;
    Open file_;
    std::unique_ptr<Zip> zip_;
};

}  // namespace

std::unique_ptr<Files> open_files(const std::string &path) {
    struct stat found;
    if (::stat(path.c_str(), &found) != 0) {
        if (errno != ENOENT) unreadable(path, errno);
        throw Error(MMCAF_BUNDLE, path + ": no such bundle.",
                    {{"Check the path, or make one", "", "", "mmcaf export CHECKPOINT -o NAME.mmcaf"}});
    }
    if (S_ISDIR(found.st_mode)) return std::make_unique<Folder>(path);
    if (S_ISREG(found.st_mode)) return std::make_unique<Zipped>(path);
    throw Error(MMCAF_BUNDLE, path + ": expected the directory of a bundle or a zip, got something that is no file.",
                {{"Check the path.", "", "", ""}});
}

}  // namespace mmcaf
