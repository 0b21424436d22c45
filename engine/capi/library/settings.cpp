#include "settings.hpp"

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>
#include <vector>

#include <pwd.h>
#include <unistd.h>

#include "text.hpp"

namespace mmcaf {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t MEBIBYTE = 1 << 20, DEFAULT_LIMIT_MEBIBYTES = 8192;
constexpr size_t LONGEST_NUMBER = 11, MOST_OF_A_USER = 1 << 20;

std::string variable(const char *name) {
    const char *value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// The home folder of a user, "" for this one, as the system knows it; "" where it knows of none. Reentrant: the host may
// look up users on other threads.
std::string home_of(const std::string &name) {
    passwd entry{}, *found = nullptr;
    for (std::vector<char> room(1024); room.size() <= MOST_OF_A_USER; room.resize(2 * room.size())) {
        const int failure = name.empty() ? getpwuid_r(getuid(), &entry, room.data(), room.size(), &found)
                                         : getpwnam_r(name.c_str(), &entry, room.data(), room.size(), &found);
        if (failure == ERANGE) continue;
        return failure == 0 && found != nullptr && found->pw_dir != nullptr ? found->pw_dir : "";
    }
    return "";
}

fs::path home() {
    const std::string named = variable("HOME"), found = named.empty() ? home_of("") : named;
    return fs::path(found).is_absolute() ? fs::path(found) : fs::path();
}

// With ~ and ~user at its beginning replaced, as a shell does it.
fs::path expanded(const std::string &text, const char *name) {
    if (text[0] != '~') return text;
    const size_t end = text.find('/');
    const std::string user = text.substr(1, end == std::string::npos ? end : end - 1);
    const fs::path folder = user.empty() ? home() : fs::path(home_of(user));
    if (folder.empty()) {
        throw Error(MMCAF_USAGE,
                    std::string("$") + name + ": " + mmcaf::quoted(text) +
                        " begins with a home folder that the system does not know.",
                    {Remedy{"Write the whole path instead.", "", "", ""}});
    }
    const size_t rest = text.find_first_not_of('/', end);
    return rest == std::string::npos ? folder : folder / text.substr(rest);
}

bool is_on(const char *name, bool unless_set) {
    const std::string text = variable(name);
    if (text.empty()) return unless_set;
    if (text == "1" || text == "true") return true;
    if (text == "0" || text == "false") return false;
    throw Error(MMCAF_USAGE, std::string("$") + name + ": expected 1 or 0, true or false, got " + mmcaf::quoted(text) + ".",
                {Remedy{"Set it again", "", "", std::string("export ") + name + "=1"}});
}

}  // namespace

const Remedy OTHER_CACHE{"Name a folder of your own", "cache", "", "export MMCAF_CACHE=/path/to/folder"};

std::optional<fs::path> default_cache() {
    if (const std::string named = variable("MMCAF_CACHE"); !named.empty()) {
        std::error_code failure;
        const fs::path folder = fs::absolute(expanded(named, "MMCAF_CACHE"), failure);
        if (!failure) return folder;
        throw Error(MMCAF_USAGE, "$MMCAF_CACHE: " + mmcaf::quoted(named) + " cannot be followed: " + failure.message() + ".",
                    {OTHER_CACHE});
    }
    const fs::path chosen = variable("XDG_CACHE_HOME");  // A relative one counts for nothing there.
    if (chosen.is_absolute()) return chosen / "mmcaf-infer";
    const fs::path folder = home();
    return folder.empty() ? std::nullopt : std::optional<fs::path>(folder / ".cache" / "mmcaf-infer");
}

uint64_t cache_limit() {
    const std::string text = variable("MMCAF_CACHE_LIMIT");
    if (text.empty()) return DEFAULT_LIMIT_MEBIBYTES * MEBIBYTE;
    if (text.size() > LONGEST_NUMBER || text.find_first_not_of("0123456789") != std::string::npos) {
        throw Error(MMCAF_USAGE, "$MMCAF_CACHE_LIMIT: expected a whole number of MiB from 0, got " + mmcaf::quoted(text) + ".",
                    {Remedy{"Set it again", "", "", "export MMCAF_CACHE_LIMIT=8192"}});
    }
    return std::stoull(text) * MEBIBYTE;
}

bool kernels_allowed() { return is_on("MMCAF_KERNELS", true); }

bool signature_required() { return is_on("MMCAF_REQUIRE_SIGNATURE", false); }

}  // namespace mmcaf
