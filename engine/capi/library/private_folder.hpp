// Folders that are trusted as much as this program is: of this user, and changed by nobody else. What is written in them
// is written under a name that nobody can guess, then renamed into place; a lock tells what a living process works on.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "error.hpp"

namespace mmcaf {

using Path = std::filesystem::path;

// Makes a folder if it is missing. Throws Error(MMCAF_USAGE): it cannot be made, is a link, belongs to another user, or
// others may write to it or to a folder above it.
void make_private(const Path &folder);

// Throws Error(MMCAF_USAGE), with this remedy: another user could put another folder in the place of this one, of some kind,
// or of one above it. It need not be there yet.
void expect_own_parents(const Path &folder, const std::string &kind, const Remedy &remedy);

// A file descriptor that is closed with its owner.
class Descriptor {
   public:
    explicit Descriptor(int number = -1) : number_(number) {}
    Descriptor(Descriptor &&other) noexcept : number_(other.number_) { other.number_ = -1; }
    Descriptor &operator=(Descriptor &&other) noexcept;
    ~Descriptor();
    int get() const { return number_; }

   private:
    int number_;
};

// Opens a regular file of this user, not through a link. Throws std::system_error: it is none, or cannot be opened.
Descriptor open_own(const Path &file);

// What a file of this user holds, up to so many bytes; nothing where it is none of theirs.
std::optional<std::string> read_own(const Path &file, size_t most);

// A new file of this user alone, written and put on the disk. Throws std::system_error.
void write_new(const Path &file, const std::string &content);

// A new, empty folder that a living process holds; removed with its owner unless it was committed.
class StagingFolder {
   public:
    // Throws std::system_error. Also removes what killed processes left behind half written.
    explicit StagingFolder(const Path &parent);
    StagingFolder(StagingFolder &&) = default;
    StagingFolder &operator=(StagingFolder &&) = delete;
    ~StagingFolder();
    const Path &path() const { return path_; }
    // Puts its files on the disk and renames it; false where a folder stands there, which stays. Throws std::system_error.
    bool commit(const Path &target);

   private:
    bool made_in(const Path &parent);

    Path path_;
    Descriptor lock_;
};

// Writes a file in one rename, in the place of an older one. Throws std::system_error.
void replace_file(const Path &target, const std::string &content);

bool is_staging(const std::string &name);

// What lies in a folder, as far as it can be read.
std::vector<Path> listed(const Path &folder);

// Removes a file or a folder, which disappears at once; false if that failed.
bool remove_whole(const Path &path);

// Notes that a kept thing was used now, which keeps it from being removed first.
void mark_used(const Path &path);

}  // namespace mmcaf
