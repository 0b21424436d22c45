#include "error.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "json.hpp"

namespace mmcaf {
namespace {

// C0 and C1 but newline and tab; what Unicode has to hide or reorder text; halves of characters.
const std::pair<uint32_t, uint32_t> STEERING[] = {
    {0x00, 0x08},     {0x0B, 0x1F},     {0x7F, 0x9F},     {0xAD, 0xAD},     {0x61C, 0x61C},   {0x180E, 0x180E},
    {0x200B, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F}, {0xD800, 0xDFFF}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB},
    {0xE0000, 0xE007F},
};

bool steers(uint32_t point) {
    return std::any_of(std::begin(STEERING), std::end(STEERING),
                       [&](const auto &range) { return range.first <= point && point <= range.second; });
}

bool ends_a_sentence(const std::string &text) {
    return !text.empty() && (text.back() == '.' || text.back() == '!' || text.back() == '?');
}

// The sentence, with option and command after it.
std::string rendered(const Remedy &remedy) {
    std::string argument = remedy.option;
    if (!argument.empty() && !remedy.value.empty()) argument += "=" + remedy.value;
    std::string after = argument;
    if (!remedy.command.empty()) after += (after.empty() ? "" : "; ") + remedy.command;
    if (after.empty()) return remedy.text;
    const std::string text = remedy.text.substr(0, remedy.text.find_last_not_of(".:") + 1);
    return text.empty() ? after : text + ": " + after;
}

}  // namespace

std::string escaped(std::string_view text) {
    std::string out;
    for (size_t at = 0; at < text.size();) {
        const auto [point, size] = code_point(text, at);
        if (size == 0 || !steers(point)) {
            out += text.substr(at, std::max<size_t>(size, 1));
        } else {
            const std::string spelt = print_json(Json(std::string(text.substr(at, size))));
            out += spelt.substr(1, spelt.size() - 2);
        }
        at += std::max<size_t>(size, 1);
    }
    return out;
}

Error::Error(mmcaf_code code, std::string_view problem, std::vector<Remedy> given)
    : std::runtime_error(escaped(problem)), code(code), problem(what()), remedies(std::move(given)) {
    for (Remedy &one : remedies) {
        for (std::string *part : {&one.text, &one.option, &one.value, &one.command}) *part = escaped(*part);
    }
}

const char *Error::kind() const {
    switch (code) {
        case MMCAF_USAGE: return "UsageError";
        case MMCAF_STUDY: return "StudyError";
        case MMCAF_RECORD: return "RecordError";
        case MMCAF_BUNDLE: return "BundleError";
        case MMCAF_BACKEND: return "BackendError";
        case MMCAF_STRICT: return "StrictError";
        case MMCAF_DEADLINE: return "DeadlineError";
        case MMCAF_CANCELLED: return "CancelledError";
        default: return "MmcafError";
    }
}

std::string Error::remedy() const {
    std::string paragraph;
    for (const Remedy &one : remedies) {
        const std::string sentence = rendered(one);
        if (sentence.empty()) continue;
        if (!paragraph.empty()) paragraph += ends_a_sentence(paragraph) ? " " : ". ";
        paragraph += sentence;
    }
    return paragraph;
}

std::string Error::json() const {
    Json::List listed;
    for (const Remedy &one : remedies) {
        Json::Object fields;
        const std::pair<const char *, const std::string &> parts[] = {
            {"text", one.text}, {"option", one.option}, {"value", one.value}, {"command", one.command}};
        for (const auto &[name, value] : parts) {
            if (!value.empty()) fields.emplace_back(name, value);
        }
        listed.emplace_back(std::move(fields));
    }
    return print_json(Json::Object{
        {"error", kind()}, {"exit_code", static_cast<int>(code)}, {"problem", problem}, {"remedies", std::move(listed)}});
}

}  // namespace mmcaf
