#include "scope.hpp"

#include <algorithm>
#include <set>

#include "error.hpp"

namespace mmcaf {

namespace {

std::string whole(size_t count) { return "1-" + std::to_string(count); }

void check_within(const SliceSpan &span, size_t count, const std::string &what, mmcaf_code code) {
    if (span.last <= static_cast<int64_t>(count)) return;
    throw Error(code, what + " " + std::to_string(count) + " slices, numbered from 1 at the feet.",
                {Remedy{"Name slices that it has", "slices", whole(count), {}}});
}

// From the first to the last of the slices that a record names.
SliceSpan span_of(const NamedSlices &lesion, const std::string &field, const std::string &name, size_t count,
                  const std::vector<SourceImage> &images) {
    if (lesion.uids.empty()) {
        check_within(lesion.span, count, "record: " + field + " names slices " + lesion.span.text() + ", but " + name + " has",
                     MMCAF_RECORD);
        return lesion.span;
    }
    std::set<std::string> wanted(lesion.uids.begin(), lesion.uids.end()), found;
    SliceSpan span;
    bool of_frames = false;
    for (size_t at = 0; at < images.size(); ++at) {
        if (wanted.count(images[at].sop_instance_uid) == 0) continue;
        found.insert(images[at].sop_instance_uid);
        of_frames = of_frames || images[at].frame != 0;
        if (span.first == 0) span.first = static_cast<int64_t>(at) + 1;
        span.last = static_cast<int64_t>(at) + 1;
    }
    const Remedy by_number{"Or name the slices by their numbers", "slices", whole(count), {}};
    const std::string slices = std::to_string(count) + " slices of " + name;
    if (found.size() < wanted.size()) {
        throw Error(MMCAF_RECORD,
                    "record: " + std::to_string(wanted.size() - found.size()) + " of the " +
                        std::to_string(wanted.size()) + " images that " + field + " names are none of the " + slices +
                        ", which is read.",
                    {Remedy{"Name images of this series by their SOPInstanceUID (0008,0018).", {}, {}, {}}, by_number});
    }
    if (of_frames) {
        throw Error(MMCAF_RECORD,
                    "record: " + field + " names an image of several frames; that does not tell which of the " + slices +
                        " are meant.",
                    {by_number});
    }
    return span;
}

// What a viewer may call the first and the last image.
std::string frames(const std::vector<SourceImage> &images, int64_t first, int64_t last) {
    if (images.empty()) return "";
    const int from = images[static_cast<size_t>(first - 1)].frame, to = images[static_cast<size_t>(last - 1)].frame;
    if (from == 0 || to == 0) return "";
    return " (frame " + std::to_string(from) + " to " + std::to_string(to) + ")";
}

}  // namespace

void check_asked(const std::optional<SliceSpan> &asked) {
    try {
        if (asked) check_span(*asked);
    } catch (const UnusableValue &why) {
        throw Error(MMCAF_USAGE, "slices: " + why.reason + ".", {Remedy{"For example", "slices", "40-52", {}}});
    }
}

Scope scope_of(const std::optional<SliceSpan> &asked, const std::optional<NamedSlices> &lesion, const Manifest &manifest,
               size_t count, const std::vector<SourceImage> &images, const std::string &name) {
    if (!manifest.preprocessing->windows) return {asked, {}};
    const std::string field = manifest.lesion_field();
    if (asked) check_within(*asked, count, "slices: " + asked->text() + " came, but " + name + " has", MMCAF_USAGE);
    if (!lesion || field.empty()) return {asked, {}};
    std::optional<SliceSpan> told;
    try {
        told = span_of(*lesion, field, name, count, images);
    } catch (const Error &) {
        if (!asked) throw;
    }
    if (!asked || (told && *asked == *told)) return {told, {}};
    return {asked,
            {"the record's " + field + " names other slices than " + asked->text() + ", which were asked for and scored."}};
}

std::vector<std::string> remarks_on(const Scope &scope, const Windows &windows, const WindowSpec &spec, size_t count,
                                    const std::vector<SourceImage> &images) {
    if (!scope.span) {
        if (!spec.trained_on_lesion || windows.size() == 1) return {};
        const std::string by = spec.lesion_field.empty() ? "" : ", or " + spec.lesion_field + " in the record,";
        return {"all " + std::to_string(count) +
                " slices were scored, though the network's makers gave it windows at an annotated lesion alone; slices" + by +
                " names a lesion's."};
    }
    const int64_t first = windows.starts.front() + 1;
    const int64_t last = std::min(windows.starts.back() + static_cast<int64_t>(windows.depth), static_cast<int64_t>(count));
    const bool same = *scope.span == SliceSpan{first, last};
    const std::string wider = same ? "" : ", the window around " + scope.span->text();
    return {"slices " + std::to_string(first) + " to " + std::to_string(last) + " of " + std::to_string(count) +
            ", counted from the feet" + frames(images, first, last) + ", were scored" + wider +
            "; the others were not."};
}

}  // namespace mmcaf
