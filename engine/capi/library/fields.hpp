// The fields of one object of a manifest: each is asked for by its name, and what nobody asked for is refused, so that this
// library never ignores what a newer bundle relies on.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "json.hpp"

namespace mmcaf {

// What is wrong with a manifest, and where.
struct Invalid {
    std::string where, what;
};

class Fields {
   public:
    // where: its dotted path, empty for the manifest itself. Throws Invalid, as all of these: it is no object.
    Fields(const Json &json, std::string where);

    // The value of a field, nullptr where it is absent; `maybe` also where it is null, which only some fields may be.
    const Json *given(const char *name);
    const Json *maybe(const char *name);
    const Json &need(const char *name);
    std::string path(const std::string &name) const;

    std::string text(const char *name, size_t least = 0, size_t most = 10000);
    std::string text_or(const char *name, const std::string &otherwise, size_t most = 10000);
    double number(const char *name, double least = -std::numeric_limits<double>::max(),
                  double most = std::numeric_limits<double>::max());
    std::optional<double> maybe_number(const char *name);
    int64_t whole(const char *name, int64_t least, int64_t most = std::numeric_limits<int64_t>::max());
    std::optional<int64_t> maybe_whole(const char *name, int64_t least, int64_t most = std::numeric_limits<int64_t>::max());
    bool flag(const char *name, bool otherwise);
    std::string choice(const char *name, const std::vector<std::string> &among);
    std::string choice_or(const char *name, const std::vector<std::string> &among, const std::string &otherwise);

    std::vector<std::string> texts(const char *name, size_t most_each = 10000, size_t least_each = 0);  // none where it is absent
    std::vector<double> numbers(const char *name);
    void each(const char *name, const std::function<void(const Json &item, const std::string &where)> &take);
    void pairs(const char *name, const std::function<void(const std::string &key, const Json &value,
                                                          const std::string &where)> &take);

    // Fields that are known and not kept.
    void ignore(std::initializer_list<const char *> names);

    // Throws Invalid: it has a field that is unknown.
    void end() const;

   private:
    const Json &json_;
    std::string where_;
    std::set<std::string> known_;
};

// One value; each throws Invalid where it is none of these.
std::string text_of(const Json &json, const std::string &where, size_t least = 0, size_t most = 10000);
double number_of(const Json &json, const std::string &where);
int64_t whole_of(const Json &json, const std::string &where, int64_t least, int64_t most);

}  // namespace mmcaf
