#include "private_folder.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <random>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.hpp"

namespace mmcaf {
namespace {

namespace fs = std::filesystem;

const Remedy OTHER_FOLDER{"Name a folder of your own", "cache", "", "export MMCAF_CACHE=/path/to/folder"};
constexpr uint64_t MEBIBYTE = 1 << 20, DEFAULT_LIMIT_MEBIBYTES = 8192;
constexpr size_t LONGEST_NUMBER = 11;

std::string variable(const char *name) {
    const char *value = std::getenv(name);
    return value == nullptr ? "" : value;
}

Path home() {
    std::string found = variable("HOME");
    if (found.empty()) {
        const passwd *user = getpwuid(getuid());
        if (user != nullptr && user->pw_dir != nullptr) found = user->pw_dir;
    }
    return Path(found).is_absolute() ? Path(found) : Path();
}

[[noreturn]] void fail(const Path &path) { throw std::system_error(errno, std::generic_category(), path.string()); }

std::string octal(mode_t mode) {
    char text[16];
    std::snprintf(text, sizeof text, "%o", static_cast<unsigned>(mode & 07777));
    return text;
}

bool others_may_write(const struct stat &found) { return (found.st_mode & (S_IWGRP | S_IWOTH)) != 0; }

// Refuses a folder above one in which another user than root could put another one in its place.
void refuse_exchangeable(const Path &folder, const Path &above) {
    struct stat found {};
    std::string what;
    if (stat(above.c_str(), &found) != 0) {
        what = std::string("cannot be looked at: ") + std::strerror(errno);
    } else if (found.st_uid != 0 && found.st_uid != geteuid()) {
        what = "belongs to another user (id " + std::to_string(found.st_uid) + ")";
    } else if (others_may_write(found) && (found.st_mode & S_ISVTX) == 0) {
        what = "can be written by other users (mode " + octal(found.st_mode) + ")";
    } else {
        return;
    }
    throw Error(MMCAF_USAGE, folder.string() + ": the folder " + above.string() + " above this cache folder " + what + ".",
                {OTHER_FOLDER});
}

std::vector<Path> parents(Path path) {
    std::vector<Path> found;
    for (path = path.parent_path(); found.empty() || found.back() != path; path = path.parent_path()) found.push_back(path);
    return found;
}

void make_folders(const Path &folder) {
    if (mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) return;
    if (errno != ENOENT || !folder.has_relative_path()) fail(folder);
    make_folders(folder.parent_path());
    if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) fail(folder);
}

void synchronise(const Path &path, bool is_folder) {
    const Descriptor opened(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (opened.get() < 0) fail(path);
    // Some file systems know no such thing of folders.
    if (fsync(opened.get()) != 0 && !(is_folder && (errno == EBADF || errno == EINVAL))) fail(path);
}

Path staging_path(const Path &folder) {
    static const char *const digits = "0123456789abcdef";
    std::random_device source;
    std::string name = ".mmcaf-";
    for (int at = 0; at < 4; ++at) {
        for (uint32_t bits = source(), digit = 0; digit < 8; ++digit, bits >>= 4) name += digits[bits & 15];
    }
    return folder / (name + ".staging");
}

// Holds an open folder; false if a process that removes what was left behind has it. Some file systems know no locks.
bool hold(int descriptor) { return flock(descriptor, LOCK_SH | LOCK_NB) == 0 || (errno != EAGAIN && errno != EACCES); }

// Removes what killed processes of this user left half written: what a living one works on, it holds.
void sweep(const Path &parent) {
    std::error_code ignored;
    for (const fs::directory_entry &entry : fs::directory_iterator(parent, ignored)) {
        struct stat found {};
        if (!is_staging(entry.path().filename().string())) continue;
        if (lstat(entry.path().c_str(), &found) != 0 || found.st_uid != geteuid()) continue;
        const Descriptor opened(open(entry.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
        if (opened.get() >= 0 && flock(opened.get(), LOCK_EX | LOCK_NB) == 0) fs::remove_all(entry.path(), ignored);
    }
}

}  // namespace

Path default_cache() {
    std::string named = variable("MMCAF_CACHE");
    if (named.compare(0, 2, "~/") == 0) named = (home() / named.substr(2)).string();
    if (!named.empty()) return fs::absolute(named);
    const Path chosen = variable("XDG_CACHE_HOME");  // A relative one counts for nothing there.
    if (chosen.is_absolute()) return chosen / "mmcaf-infer";
    if (home().empty()) {
        throw Error(MMCAF_USAGE, "Nothing can be kept between runs: this user has no home folder.", {OTHER_FOLDER});
    }
    return home() / ".cache" / "mmcaf-infer";
}

uint64_t cache_limit() {
    const std::string text = variable("MMCAF_CACHE_LIMIT");
    if (text.empty()) return DEFAULT_LIMIT_MEBIBYTES * MEBIBYTE;
    if (text.size() > LONGEST_NUMBER || text.find_first_not_of("0123456789") != std::string::npos) {
        throw Error(MMCAF_USAGE, "$MMCAF_CACHE_LIMIT: expected a whole number of MiB from 0, got '" + text + "'.",
                    {Remedy{"Set it again", "", "", "export MMCAF_CACHE_LIMIT=8192"}});
    }
    return std::stoull(text) * MEBIBYTE;
}

bool kernels_allowed() {
    const std::string text = variable("MMCAF_KERNELS");
    if (text.empty() || text == "1" || text == "true") return true;
    if (text == "0" || text == "false") return false;
    throw Error(MMCAF_USAGE, "$MMCAF_KERNELS: expected 1 or 0, true or false, got '" + text + "'.",
                {Remedy{"Set it again", "", "", "export MMCAF_KERNELS=1"}});
}

void make_private(const Path &folder) {
    struct stat found {};
    try {
        make_folders(folder);
        if (lstat(folder.c_str(), &found) != 0) fail(folder);
    } catch (const std::system_error &failure) {
        throw Error(MMCAF_USAGE, folder.string() + ": cannot make the cache folder: " + failure.code().message() + ".",
                    {OTHER_FOLDER});
    }
    const std::string named = folder.string();
    if (S_ISLNK(found.st_mode)) {
        throw Error(MMCAF_USAGE, named + ": a link; the cache folder must be a real one.", {OTHER_FOLDER});
    }
    if (found.st_uid != geteuid()) {
        const std::string owner = std::to_string(found.st_uid);
        throw Error(MMCAF_USAGE, named + ": the cache folder belongs to another user (id " + owner + ").", {OTHER_FOLDER});
    }
    if (others_may_write(found)) {
        throw Error(MMCAF_USAGE,
                    named + ": other users may write to the cache folder (mode " + octal(found.st_mode) + ").",
                    {Remedy{"Empty it and take that right away", "", "", "chmod go-w " + named}});
    }
    for (const Path &above : parents(fs::absolute(folder))) refuse_exchangeable(folder, above);
    for (const Path &above : parents(fs::weakly_canonical(folder))) refuse_exchangeable(folder, above);
}

Descriptor &Descriptor::operator=(Descriptor &&other) noexcept {
    std::swap(number_, other.number_);
    return *this;
}

Descriptor::~Descriptor() {
    if (number_ >= 0) close(number_);
}

Descriptor open_own(const Path &file) {
    Descriptor opened(open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (opened.get() < 0) fail(file.filename());
    struct stat found {};
    if (fstat(opened.get(), &found) != 0) fail(file.filename());
    if (!S_ISREG(found.st_mode) || found.st_uid != geteuid()) {
        throw std::system_error(EACCES, std::generic_category(), "not a file of this user");
    }
    return opened;
}

std::optional<std::string> read_own(const Path &file, size_t most) {
    try {
        const Descriptor opened = open_own(file);
        std::string content(most, '\0');
        size_t length = 0;
        while (length < most) {
            const ssize_t count = read(opened.get(), &content[length], most - length);
            if (count < 0) return std::nullopt;
            if (count == 0) break;
            length += static_cast<size_t>(count);
        }
        content.resize(length);
        return content;
    } catch (const std::system_error &) {
        return std::nullopt;
    }
}

void write_new(const Path &file, const std::string &content) {
    const Descriptor opened(open(file.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (opened.get() < 0) fail(file);
    for (size_t done = 0; done < content.size();) {
        const ssize_t count = write(opened.get(), &content[done], content.size() - done);
        if (count < 0 && errno != EINTR) fail(file);
        if (count > 0) done += static_cast<size_t>(count);
    }
    if (fsync(opened.get()) != 0) fail(file);
}

StagingFolder::StagingFolder(const Path &parent) {
    sweep(parent);
    for (;;) {
        path_ = staging_path(parent);
        if (mkdir(path_.c_str(), 0700) != 0) fail(path_);
        lock_ = Descriptor(open(path_.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
        struct stat opened {}, named {};
        const bool held = lock_.get() >= 0 && hold(lock_.get()) && fstat(lock_.get(), &opened) == 0 &&
                          lstat(path_.c_str(), &named) == 0 && opened.st_ino == named.st_ino;
        if (held) return;
    }
}

StagingFolder::~StagingFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
}

bool StagingFolder::commit(const Path &target) {
    for (const fs::directory_entry &entry : fs::recursive_directory_iterator(path_)) {
        synchronise(entry.path(), entry.is_directory());
    }
    synchronise(path_, true);
    if (rename(path_.c_str(), target.c_str()) != 0) return false;
    path_.clear();
    synchronise(target.parent_path(), true);
    return true;
}

void replace_file(const Path &target, const std::string &content) {
    const Path staging = staging_path(target.parent_path());
    try {
        write_new(staging, content);
        if (rename(staging.c_str(), target.c_str()) != 0) fail(target);
    } catch (...) {
        unlink(staging.c_str());
        throw;
    }
}

bool is_staging(const std::string &name) {
    const std::string begin = ".mmcaf-", end = ".staging";
    const size_t digits = 32;
    return name.size() == begin.size() + digits + end.size() && name.compare(0, begin.size(), begin) == 0 &&
           name.compare(begin.size() + digits, end.size(), end) == 0 &&
           name.find_first_not_of("0123456789abcdef", begin.size()) == begin.size() + digits;
}

bool remove_whole(const Path &path) {
    std::error_code failure;
    if (!fs::is_directory(fs::symlink_status(path, failure))) {
        fs::remove(path, failure);
        return !failure;
    }
    const Descriptor held(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (held.get() >= 0) hold(held.get());
    const Path doomed = staging_path(path.parent_path());
    if (rename(path.c_str(), doomed.c_str()) != 0) return false;
    fs::remove_all(doomed, failure);
    return !failure;
}

void mark_used(const Path &path) { utimensat(AT_FDCWD, path.c_str(), nullptr, 0); }

}  // namespace mmcaf
