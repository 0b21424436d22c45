// Folders of this user, by themselves.

#include <system_error>

#include "private_folder.hpp"
#include "settings.hpp"
#include "texts.hpp"

// Makes a staging folder and removes it -> "" or why it could not be made.
MMCAF_TESTING_API char *mmcaf_testing_staging_folder(const char *parent) {
    return mmcaf::answered([&]() -> std::string {
        try {
            const mmcaf::StagingFolder folder{mmcaf::Path(parent)};
            return "";
        } catch (const std::system_error &failure) {
            return failure.what();
        }
    });
}

// Renames a new staging folder to `target` -> "committed", "there already" or why it could not be.
MMCAF_TESTING_API char *mmcaf_testing_commit(const char *parent, const char *target) {
    return mmcaf::answered([&]() -> std::string {
        try {
            mmcaf::StagingFolder folder{mmcaf::Path(parent)};
            return folder.commit(target) ? "committed" : "there already";
        } catch (const std::system_error &failure) {
            return failure.what();
        }
    });
}

// A folder whose parents must be this user's -> "".
MMCAF_TESTING_API char *mmcaf_testing_own_parents(const char *folder) {
    return mmcaf::answered([&]() -> std::string {
        mmcaf::expect_own_parents(folder, "temporary", mmcaf::Remedy{"Name another one", "", "", ""});
        return "";
    });
}

// Where derived files lie by the environment -> the folder, or "".
MMCAF_TESTING_API char *mmcaf_testing_default_cache() {
    return mmcaf::answered([]() -> std::string { return mmcaf::default_cache().value_or(mmcaf::Path()).string(); });
}
