// A manifest, beside the same of the Python engine.

#include "bundle.hpp"
#include "texts.hpp"

// The manifest's name, where it is valid.
MMCAF_TESTING_API char *mmcaf_testing_manifest(const char *document) {
    return mmcaf::answered([&] {
        return mmcaf::parse_manifest(mmcaf::parse_json(document, "manifest.json", MMCAF_BUNDLE), "bundle").name;
    });
}
