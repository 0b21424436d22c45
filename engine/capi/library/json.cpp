#include "json.hpp"

#include <algorithm>
#include <cstdlib>

namespace mmcaf {

std::pair<uint32_t, size_t> code_point(std::string_view text, size_t at) {
    const auto byte = [&](size_t place) { return place < text.size() ? static_cast<uint8_t>(text[place]) : 0u; };
    const uint32_t lead = byte(at);
    if (lead < 0x80) return {lead, 1};
    const size_t more = lead >= 0xF0 && lead < 0xF5 ? 3 : lead >= 0xE0 && lead < 0xF0 ? 2 : lead >= 0xC2 && lead < 0xE0 ? 1 : 0;
    uint32_t point = lead & (0x3F >> more);
    for (size_t place = 1; place <= more; ++place) {
        if ((byte(at + place) & 0xC0) != 0x80) return {0, 0};
        point = point << 6 | (byte(at + place) & 0x3F);
    }
    const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    return more == 0 || point < least[more] || point > 0x10FFFF ? std::pair<uint32_t, size_t>{0, 0}
                                                                : std::pair<uint32_t, size_t>{point, more + 1};
}

Json Json::integer_token(std::string token) {
    Json made;
    made.kind_ = Kind::integer;
    made.number_ = number_spelled(token);
    made.text_ = std::move(token);
    return made;
}

int64_t Json::integer() const { return std::strtoll(text_.c_str(), nullptr, 10); }

const Json *Json::find(std::string_view key) const {
    for (const auto &member : object_) {
        if (member.first == key) return &member.second;
    }
    return nullptr;
}

bool Json::operator==(const Json &other) const {
    if (kind_ != other.kind_) {
        const auto numeric = [](Kind kind) { return kind == Kind::integer || kind == Kind::real; };
        return numeric(kind_) && numeric(other.kind_) && number_ == other.number_;
    }
    if (kind_ != Kind::object) {
        const bool same_number = kind_ != Kind::real || number_ == other.number_;
        return truth_ == other.truth_ && same_number && text_ == other.text_ && list_ == other.list_;
    }
    if (object_.size() != other.object_.size()) return false;
    return std::all_of(object_.begin(), object_.end(), [&](const auto &member) {
        const Json *found = other.find(member.first);
        return found != nullptr && *found == member.second;
    });
}

}  // namespace mmcaf
