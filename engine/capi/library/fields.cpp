#include "fields.hpp"

#include <algorithm>
#include <cmath>

namespace mmcaf {
namespace {

// One line in which nothing steers a terminal, in every place where a text may stand.
void check_line(const std::string &text, const std::string &where) {
    if (escaped(text) != text || text.find_first_of("\n\t") != std::string::npos) {
        throw Invalid{where, "one line without control characters is expected"};
    }
}

std::string in_words(const std::vector<std::string> &among) {
    std::string said;
    for (size_t at = 0; at < among.size(); ++at) {
        said += (at == 0 ? "'" : at + 1 == among.size() ? " or '" : ", '") + among[at] + "'";
    }
    return said;
}

const std::vector<Json> &list_of(const Json &json, const std::string &where) {
    if (!json.is(Json::Kind::list)) throw Invalid{where, "Input should be a valid tuple"};
    return json.list();
}

size_t characters(const std::string &text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char one) { return (static_cast<uint8_t>(one) & 0xC0) != 0x80; }));
}

}  // namespace

std::string text_of(const Json &json, const std::string &where, size_t least, size_t most) {
    if (!json.is(Json::Kind::text)) throw Invalid{where, "Input should be a valid string"};
    const size_t length = characters(json.text());
    if (length < least) throw Invalid{where, "String should have at least " + std::to_string(least) + " character"};
    if (length > most) throw Invalid{where, "String should have at most " + std::to_string(most) + " characters"};
    check_line(json.text(), where);
    return json.text();
}

double number_of(const Json &json, const std::string &where) {
    if (!json.is(Json::Kind::integer) && !json.is(Json::Kind::real)) throw Invalid{where, "Input should be a valid number"};
    return json.number();
}

int64_t whole_of(const Json &json, const std::string &where, int64_t least, int64_t most) {
    const double value = number_of(json, where);
    if (value != std::floor(value) || std::abs(value) > 9.0e18) throw Invalid{where, "Input should be a valid integer"};
    const int64_t found = json.is(Json::Kind::integer) ? json.integer() : static_cast<int64_t>(value);
    if (found < least) throw Invalid{where, "Input should be greater than or equal to " + std::to_string(least)};
    if (found > most) throw Invalid{where, "Input should be less than or equal to " + std::to_string(most)};
    return found;
}

Fields::Fields(const Json &json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is(Json::Kind::object)) throw Invalid{where_, "Input should be a valid dictionary"};
}

std::string Fields::path(const std::string &name) const { return where_.empty() ? name : where_ + "." + name; }

const Json *Fields::given(const char *name) {
    known_.insert(name);
    return json_.find(name);
}

const Json *Fields::maybe(const char *name) {
    const Json *found = given(name);
    return found == nullptr || found->is(Json::Kind::null) ? nullptr : found;
}

const Json &Fields::need(const char *name) {
    const Json *found = given(name);
    if (found == nullptr) throw Invalid{path(name), "Field required"};
    return *found;
}

std::string Fields::text(const char *name, size_t least, size_t most) { return text_of(need(name), path(name), least, most); }

std::string Fields::text_or(const char *name, const std::string &otherwise, size_t most) {
    const Json *found = given(name);
    return found == nullptr ? otherwise : text_of(*found, path(name), 0, most);
}

double Fields::number(const char *name, double least, double most) {
    const double found = number_of(need(name), path(name));
    if (found < least || found > most) {
        throw Invalid{path(name), "Input should be from " + float_repr(least) + " to " + float_repr(most)};
    }
    return found;
}

std::optional<double> Fields::maybe_number(const char *name) {
    const Json *found = maybe(name);
    return found == nullptr ? std::nullopt : std::optional<double>(number_of(*found, path(name)));
}

int64_t Fields::whole(const char *name, int64_t least, int64_t most) { return whole_of(need(name), path(name), least, most); }

std::optional<int64_t> Fields::maybe_whole(const char *name, int64_t least, int64_t most) {
    const Json *found = maybe(name);
    return found == nullptr ? std::nullopt : std::optional<int64_t>(whole_of(*found, path(name), least, most));
}

bool Fields::flag(const char *name, bool otherwise) {
    const Json *found = given(name);
    if (found == nullptr) return otherwise;
    if (found->is(Json::Kind::boolean)) return found->truth();
    const bool number = found->is(Json::Kind::integer) || found->is(Json::Kind::real);
    if (!number || (found->number() != 0 && found->number() != 1)) {
        throw Invalid{path(name), "Input should be a valid boolean"};
    }
    return found->number() == 1;
}

std::string Fields::choice(const char *name, const std::vector<std::string> &among) {
    const Json &found = need(name);
    if (!found.is(Json::Kind::text) || std::find(among.begin(), among.end(), found.text()) == among.end()) {
        throw Invalid{path(name), "Input should be " + in_words(among)};
    }
    return found.text();
}

std::string Fields::choice_or(const char *name, const std::vector<std::string> &among, const std::string &otherwise) {
    return given(name) == nullptr ? otherwise : choice(name, among);
}

std::vector<std::string> Fields::texts(const char *name, size_t most_each, size_t least_each) {
    std::vector<std::string> found;
    each(name, [&](const Json &item, const std::string &where) {
        found.push_back(text_of(item, where, least_each, most_each));
    });
    return found;
}

std::vector<double> Fields::numbers(const char *name) {
    std::vector<double> found;
    each(name, [&](const Json &item, const std::string &where) { found.push_back(number_of(item, where)); });
    return found;
}

void Fields::each(const char *name, const std::function<void(const Json &, const std::string &)> &take) {
    const Json *found = given(name);
    if (found == nullptr) return;
    const std::vector<Json> &items = list_of(*found, path(name));
    for (size_t at = 0; at < items.size(); ++at) take(items[at], path(name) + "." + std::to_string(at));
}

void Fields::pairs(const char *name, const std::function<void(const std::string &, const Json &, const std::string &)> &take) {
    const Json *found = given(name);
    if (found == nullptr) return;
    if (!found->is(Json::Kind::object)) throw Invalid{path(name), "Input should be a valid dictionary"};
    for (const auto &[key, value] : found->object()) {
        const std::string where = path(name) + "." + key;
        check_line(key, where);
        take(key, value, where);
    }
}

void Fields::ignore(std::initializer_list<const char *> names) {
    for (const char *name : names) known_.insert(name);
}

void Fields::end() const {
    for (const auto &[key, value] : json_.object()) {
        if (known_.count(key) == 0) throw Invalid{path(key), "Extra inputs are not permitted"};
    }
}

}  // namespace mmcaf
