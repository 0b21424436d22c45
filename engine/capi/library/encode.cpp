#include "encode.hpp"

#include <cmath>

#include "slices.hpp"
#include "text.hpp"

namespace mmcaf {

namespace {

// Spellings of one unit each: UCUM's and the usual ones, as in mmcaf_engine/record/codings/systems.json.
const std::vector<std::vector<std::string>> kUnits = {
    {"kg", "kgs", "kilogram", "kilograms", "kilo", "kilos"},
    {"g", "gm", "gms", "gram", "grams"},
    {"[lb_av]", "lb", "lbs", "pound", "pounds"},
    {"a", "year", "years", "yr", "yrs"},
    {"mo", "month", "months"},
    {"cm", "centimeter", "centimeters", "centimetre", "centimetres"},
    {"m", "meter", "meters", "metre", "metres"},
    {"[in_i]", "in", "inch", "inches"},
};

std::string accepted(const TableField &field) {
    std::vector<std::string> names;
    for (const auto &[name, number] : field.categories) names.push_back(name);
    return "accepted: " + joined(names, ", ");
}

// Of spellings that fold to one, a category before a synonym, and the first of each.
const std::string *find_category(const TableField &field, const std::string &spelling) {
    const std::string folded = fold(spelling);
    for (const auto &entry : field.categories) {
        if (fold(entry.first) == folded) return &entry.first;
    }
    for (const auto &[synonym, category] : field.synonyms) {
        if (fold(synonym) == folded) return &category;
    }
    return nullptr;
}

Encoded encode_category(const TableField &field, const Json &raw) {
    if (!raw.is(Json::Kind::text) && !raw.is(Json::Kind::integer)) {
        throw UnusableValue{"a " + json_type(raw) + " came, a category was expected (" + accepted(field) + ")"};
    }
    const std::string *category = find_category(field, raw.text());
    if (category == nullptr) {
        throw UnusableValue{quoted(beginning(raw.text(), 40)) + " is not known (" + accepted(field) + ")"};
    }
    const double own = *find(field.categories, *category);
    return {*category, own / field.divisor, own};
}

double finite(const Json &raw, const std::string &expected) {
    if (raw.is(Json::Kind::integer) || raw.is(Json::Kind::real)) return raw.number();
    throw UnusableValue{"a " + json_type(raw) + " came, " + expected};
}

// How many of the field's own unit a unit is, however it is spelled; null where the manifest does not know it.
const double *unit_factor(const TableField &field, const Json &unit) {
    static const double one = 1;
    if (!unit.is(Json::Kind::text)) return nullptr;
    const std::string given = fold(unit.text());
    std::vector<std::string> same{given};
    for (const auto &spellings : kUnits) {
        for (const std::string &spelling : spellings) {
            if (spelling == given) same = spellings;
        }
    }
    const auto is_same = [&](const std::string &known) {
        for (const std::string &spelling : same) {
            if (fold(known) == spelling) return true;
        }
        return false;
    };
    const double *own = find(field.units, field.unit);
    if (is_same(field.unit)) return own != nullptr ? own : &one;
    for (const auto &[known, factor] : field.units) {
        if (is_same(known)) return &factor;
    }
    return nullptr;
}

double scaled(const TableField &field, double value) {
    if (field.mean && field.std) return (value - *field.mean) / *field.std;
    return (value - *field.lower) / (*field.upper - *field.lower);
}

Encoded encode_number(const TableField &field, const Json &raw) {
    const std::string expected = "a number in " + field.unit + " from " + general(field.minimum) + " to " +
                                 general(field.maximum) + " was expected";
    const Json *value = raw.is(Json::Kind::object) && raw.object().size() == 2 ? raw.find("value") : nullptr;
    const Json *unit = value != nullptr ? raw.find("unit") : nullptr;
    double number;
    if (unit != nullptr) {
        number = finite(*value, expected);
        const double *factor = unit_factor(field, *unit);
        if (factor == nullptr) {
            std::vector<std::string> known{field.unit};
            for (const auto &entry : field.units) known.push_back(entry.first);
            const std::string shown = unit->is(Json::Kind::text) ? unit->text() : print_json(*unit);
            throw UnusableValue{"the unit " + quoted(beginning(shown, 20)) + " is not known (accepted: " +
                                joined(known, ", ") + ")"};
        }
        number *= *factor;
    } else {
        number = finite(raw, expected);
    }
    if (!(number >= field.minimum && number <= field.maximum)) {
        throw UnusableValue{general(number) + " " + field.unit + " came, " + expected};
    }
    return {number, scaled(field, number), number};
}

}  // namespace

Encoded encode(const TableField &field, const Json &raw) {
    return field.kind == TableField::Kind::category ? encode_category(field, raw) : encode_number(field, raw);
}

std::string json_type(const Json &value) {
    switch (value.kind()) {
        case Json::Kind::null: return "null";
        case Json::Kind::boolean: return "true/false value";
        case Json::Kind::text: return "string";
        case Json::Kind::list: return "list";
        case Json::Kind::object: return "nested object";
        default: return "number";
    }
}

std::string condition(const TableField &field) {
    return field.name + (field.cut->above ? " >= " : " <= ") + general(field.cut->value);
}

}  // namespace mmcaf
