// Texts as the engine in Python treats them, so that both read a record alike and say the same of it. Strings are UTF-8; a
// lone surrogate, which JSON allows, is the three bytes that UTF-8 would have for it.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mmcaf {

std::u32string code_points(std::string_view text);
std::string utf8(std::u32string_view text);

// Without what Unicode calls white space at both ends.
std::string strip(std::string_view text);

// Full case folding of Unicode: "Straße" and "STRASSE" become one.
std::string casefold(std::string_view text);

// A key, category or unit without what does not matter: letter case, blanks, - and _.
std::string fold(std::string_view text);

// As `fold`, the name of a key of a record: PatientID, as DICOM spells it, is patient_id.
std::string field_key(std::string_view text);

// The first so many code points.
std::string beginning(std::string_view text, size_t count);

// In quotes, with what is not shown spelled out: Python's repr of a str.
std::string quoted(std::string_view text);

std::string joined(const std::vector<std::string> &texts, std::string_view separator);

// A number in at most so many significant digits, and with so many digits behind the point: %.*g and %.*f.
std::string general(double value, int digits = 6);
std::string fixed(double value, int digits);

template <class Range> std::string by_axes(const Range &lengths) {
    std::vector<std::string> texts;
    for (const auto length : lengths) texts.push_back(general(static_cast<double>(length)));
    return joined(texts, " x ");
}

// Of one code point what it folds to, at most three; returns how many.
int folded(char32_t point, char32_t into[3]);

}  // namespace mmcaf
