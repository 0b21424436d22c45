// Which slices of a series are scored: all of them, or those that the caller or the record names; as
// mmcaf_engine/inputs/scope.py has it.

#pragma once

#include <optional>
#include <string>

#include "volume.hpp"
#include "windows.hpp"

namespace mmcaf {

// span: none where all are. warnings: on the record, which named others.
struct Scope {
    std::optional<SliceSpan> span;
    std::vector<std::string> warnings;
};

// Error MMCAF_USAGE: no slices from 1, or the last before the first.
void check_asked(const std::optional<SliceSpan> &asked);

// images: of the slices in their order, or none. name: what messages call the series.
//
// Error MMCAF_USAGE: the caller names slices that the series does not have. Error MMCAF_RECORD: the record does, where the
// caller names none, or images that are not the series'.
Scope scope_of(const std::optional<SliceSpan> &asked, const std::optional<NamedSlices> &lesion, const Manifest &manifest,
               size_t count, const std::vector<SourceImage> &images, const std::string &name);

// Which slices of how many were scored, where that is not what it is taken for.
std::vector<std::string> remarks_on(const Scope &scope, const Windows &windows, const WindowSpec &spec, size_t count,
                                    const std::vector<SourceImage> &images);

}  // namespace mmcaf
