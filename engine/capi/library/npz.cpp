#include "npz.hpp"

#include <cstring>
#include <map>
#include <stdexcept>

namespace mmcaf {
namespace {

constexpr size_t MAX_HEADER = 1000, MAX_AXES = 8;
constexpr uint64_t MAX_BYTES = 256u << 20;

[[noreturn]] void refuse(const std::string &name, const std::string &what) {
    throw std::invalid_argument(name + " " + what);
}

// The header is a dictionary as Python writes it: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 7), }.
class HeaderText {
   public:
    HeaderText(const std::string &name, std::string text) : name_(name), text_(std::move(text)) {}

    std::string quoted(const std::string &key) const {
        const size_t at = value(key), end = at < text_.size() ? text_.find(text_[at], at + 1) : std::string::npos;
        if (end == std::string::npos || (text_[at] != '\'' && text_[at] != '"')) refuse(name_, "has no .npy header");
        return text_.substr(at + 1, end - at - 1);
    }

    bool truth(const std::string &key) const {
        const size_t at = value(key);
        if (text_.compare(at, 4, "True") == 0) return true;
        if (text_.compare(at, 5, "False") != 0) refuse(name_, "has no .npy header");
        return false;
    }

    std::vector<int64_t> shape() const {
        const size_t at = value("shape"), end = text_.find(')', at);
        if (at >= text_.size() || text_[at] != '(' || end == std::string::npos) refuse(name_, "has no .npy header");
        std::vector<int64_t> found;
        for (size_t place = at + 1; place < end;) {
            const size_t digits = text_.find_first_not_of("0123456789", place);
            if (digits == place || digits - place > 18) refuse(name_, "has a shape that is no list of lengths");
            found.push_back(std::stoll(text_.substr(place, digits - place)));
            place = text_.find_first_not_of(", ", digits);
        }
        return found;
    }

   private:
    size_t value(const std::string &key) const {
        const size_t at = text_.find("'" + key + "'");
        const size_t colon = at == std::string::npos ? at : text_.find(':', at);
        const size_t begin = colon == std::string::npos ? colon : text_.find_first_not_of(' ', colon + 1);
        if (begin == std::string::npos) refuse(name_, "has no .npy header");
        return begin;
    }

    const std::string &name_;
    std::string text_;
};

// Values that lie column by column, as they lie row by row.
std::vector<uint8_t> by_rows(const NpyArray &array) {
    std::vector<uint8_t> ordered(array.bytes.size());
    std::vector<int64_t> place(array.shape.size(), 0);
    for (size_t row = 0; row < array.count(); ++row) {
        size_t column = 0;
        for (size_t axis = place.size(); axis-- > 0;) {
            column = column * static_cast<size_t>(array.shape[axis]) + static_cast<size_t>(place[axis]);
        }
        std::memcpy(&ordered[row * array.width], &array.bytes[column * array.width], array.width);
        for (size_t axis = place.size(); axis-- > 0;) {
            if (++place[axis] < array.shape[axis]) break;
            place[axis] = 0;
        }
    }
    return ordered;
}

template <class Stored, class Wanted> std::vector<Wanted> converted(const NpyArray &array) {
    std::vector<Wanted> found(array.count());
    for (size_t at = 0; at < found.size(); ++at) {
        Stored value;
        std::memcpy(&value, &array.bytes[at * sizeof value], sizeof value);
        found[at] = static_cast<Wanted>(value);
    }
    return found;
}

template <class Wanted> std::vector<Wanted> values_of(const NpyArray &array) {
    const std::string type = array.dtype();
    if (type == "float32") return converted<float, Wanted>(array);
    if (type == "float64") return converted<double, Wanted>(array);
    if (type == "int64") return converted<int64_t, Wanted>(array);
    if (type == "int32") return converted<int32_t, Wanted>(array);
    if (type == "int16") return converted<int16_t, Wanted>(array);
    if (type == "int8") return converted<int8_t, Wanted>(array);
    if (type == "uint8" || type == "bool") return converted<uint8_t, Wanted>(array);
    if (type == "uint16") return converted<uint16_t, Wanted>(array);
    if (type == "uint32") return converted<uint32_t, Wanted>(array);
    throw std::invalid_argument("an array of " + type);
}

}  // namespace

size_t NpyArray::count() const {
    size_t product = 1;
    for (const int64_t length : shape) product *= static_cast<size_t>(length);
    return product;
}

std::string NpyArray::dtype() const {
    const std::map<char, std::string> names = {{'f', "float"}, {'i', "int"}, {'u', "uint"}};
    return kind == 'b' ? "bool" : names.at(kind) + std::to_string(8 * width);
}

std::vector<float> NpyArray::floats() const { return values_of<float>(*this); }
std::vector<double> NpyArray::doubles() const { return values_of<double>(*this); }
std::vector<int64_t> NpyArray::integers() const { return values_of<int64_t>(*this); }

NpyArray read_npy(const std::string &name, const std::vector<uint8_t> &file) {
    const bool begins = file.size() > 12 && std::memcmp(file.data(), "\x93NUMPY", 6) == 0;
    if (!begins || (file[6] != 1 && file[6] != 2) || file[7] != 0) refuse(name, "has no .npy header of version 1.0 or 2.0");
    const size_t start = file[6] == 1 ? 10 : 12;
    uint64_t length = 0;
    for (size_t at = start; at-- > 8;) length = length << 8 | file[at];
    if (length > MAX_HEADER || start + length > file.size()) refuse(name, "has no .npy header");
    const auto header = file.begin() + static_cast<std::ptrdiff_t>(start);
    const HeaderText text(name, std::string(header, header + static_cast<std::ptrdiff_t>(length)));
    const std::string type = text.quoted("descr");
    const bool plain = type.size() == 3 && (type[0] == '<' || type[0] == '|') && std::strchr("biuf", type[1]) &&
                       std::strchr("1248", type[2]);
    if (!plain) refuse(name, "holds " + type + "; numbers are expected");
    NpyArray array{type[1], static_cast<size_t>(type[2] - '0'), text.shape(), {}};
    uint64_t size = array.width;
    for (const int64_t axis : array.shape) {
        const bool fits = static_cast<uint64_t>(axis) <= MAX_BYTES && size * static_cast<uint64_t>(axis) <= MAX_BYTES;
        size *= static_cast<uint64_t>(axis);
        if (!fits) refuse(name, "takes more than the " + std::to_string(MAX_BYTES) + " bytes that are read");
    }
    if (array.shape.size() > MAX_AXES) refuse(name, "has " + std::to_string(array.shape.size()) + " axes");
    if (file.size() - start - length != size) {
        refuse(name, "does not hold the " + std::to_string(size) + " bytes that it says");
    }
    array.bytes.assign(header + static_cast<std::ptrdiff_t>(length), file.end());
    if (text.truth("fortran_order")) array.bytes = by_rows(array);
    return array;
}

}  // namespace mmcaf
