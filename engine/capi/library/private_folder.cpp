#include "private_folder.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.hpp"
#include "settings.hpp"

namespace mmcaf {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const Path &path) { throw std::system_error(errno, std::generic_category(), path.string()); }

std::string octal(mode_t mode) {
    char text[16];
    std::snprintf(text, sizeof text, "%o", static_cast<unsigned>(mode & 07777));
    return text;
}

bool others_may_write(const struct stat &found) { return (found.st_mode & (S_IWGRP | S_IWOTH)) != 0; }

// Refuses a folder above one in which another user than root could put another one in its place.
void refuse_exchangeable(const Path &folder, const std::string &kind, const Path &above, const Remedy &remedy) {
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
    throw Error(MMCAF_USAGE,
                folder.string() + ": the folder " + above.string() + " above this " + kind + " folder " + what + ".", {remedy});
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
    for (const Path &path : listed(parent)) {
        struct stat found {};
        if (!is_staging(path.filename().string())) continue;
        if (lstat(path.c_str(), &found) != 0 || found.st_uid != geteuid()) continue;
        const Descriptor opened(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
        if (opened.get() >= 0 && flock(opened.get(), LOCK_EX | LOCK_NB) == 0) fs::remove_all(path, ignored);
    }
}

}  // namespace

void make_private(const Path &folder) {
    struct stat found {};
    try {
        make_folders(folder);
        if (lstat(folder.c_str(), &found) != 0) fail(folder);
    } catch (const std::system_error &failure) {
        throw Error(MMCAF_USAGE, folder.string() + ": cannot make the cache folder: " + failure.code().message() + ".",
                    {OTHER_CACHE});
    }
    const std::string named = folder.string();
    if (S_ISLNK(found.st_mode)) {
        throw Error(MMCAF_USAGE, named + ": a link; the cache folder must be a real one.", {OTHER_CACHE});
    }
    if (found.st_uid != geteuid()) {
        const std::string owner = std::to_string(found.st_uid);
        throw Error(MMCAF_USAGE, named + ": the cache folder belongs to another user (id " + owner + ").", {OTHER_CACHE});
    }
    if (others_may_write(found)) {
        throw Error(MMCAF_USAGE,
                    named + ": other users may write to the cache folder (mode " + octal(found.st_mode) + ").",
                    {Remedy{"Empty it and take that right away", "", "", "chmod go-w " + named}});
    }
    expect_own_parents(folder, "cache", OTHER_CACHE);
}

void expect_own_parents(const Path &folder, const std::string &kind, const Remedy &remedy) {
    Path absolute, canonical;
    try {
        absolute = fs::absolute(folder);
        canonical = fs::weakly_canonical(folder);
    } catch (const std::system_error &failure) {
        throw Error(MMCAF_USAGE,
                    folder.string() + ": this " + kind + " folder cannot be followed: " + failure.code().message() + ".",
                    {remedy});
    }
    for (const Path &above : parents(absolute)) refuse_exchangeable(folder, kind, above, remedy);
    for (const Path &above : parents(canonical)) refuse_exchangeable(folder, kind, above, remedy);
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
    while (!made_in(parent)) {}
}

// False where another process has swept the folder away before it was held.
bool StagingFolder::made_in(const Path &parent) {
    path_ = staging_path(parent);
    if (mkdir(path_.c_str(), 0700) != 0) fail(path_);
    lock_ = Descriptor(open(path_.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    struct stat opened {}, named {};
    const bool seen = lock_.get() >= 0 && fstat(lock_.get(), &opened) == 0 && lstat(path_.c_str(), &named) == 0;
    if (!seen && errno != ENOENT) {
        const int failure = errno;
        rmdir(path_.c_str());
        throw std::system_error(failure, std::generic_category(), path_.string());
    }
    return seen && opened.st_ino == named.st_ino && hold(lock_.get()) && lstat(path_.c_str(), &named) == 0;
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
    if (rename(path_.c_str(), target.c_str()) != 0) {
        if (errno == EEXIST || errno == ENOTEMPTY) return false;
        fail(target);
    }
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

std::vector<Path> listed(const Path &folder) {
    std::vector<Path> found;
    std::error_code failure;
    fs::directory_iterator at(folder, failure);
    for (; !failure && at != fs::directory_iterator(); at.increment(failure)) found.push_back(at->path());
    return found;
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
