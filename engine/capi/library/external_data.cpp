#include "external_data.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <vector>

namespace mmcaf {
namespace {

const std::string WORD = "location";
constexpr int MAX_DEPTH = 100;
constexpr uint64_t LAST_FIELD = (uint64_t{1} << 29) - 1, LARGEST = (uint64_t{1} << 31) - 1;
enum Wire : unsigned { VARINT = 0, FIXED_64 = 1, BYTES = 2, FIXED_32 = 5 };
constexpr uint64_t KEY = 1, VALUE = 2;

enum class Message { model, training, function, graph, node, attribute, sparse, tensor, entry };

// Message -> field -> the message in it, as far as they lead to the entries of TensorProto.external_data.
const std::map<Message, std::map<uint64_t, Message>> CHILDREN = {
    {Message::model, {{7, Message::graph}, {20, Message::training}, {25, Message::function}}},
    {Message::training, {{1, Message::graph}, {2, Message::graph}}},
    {Message::function, {{7, Message::node}, {11, Message::attribute}}},
    {Message::graph, {{1, Message::node}, {5, Message::tensor}, {15, Message::sparse}}},
    {Message::node, {{5, Message::attribute}}},
    {Message::attribute,
     {{5, Message::tensor},
      {6, Message::graph},
      {10, Message::tensor},
      {11, Message::graph},
      {22, Message::sparse},
      {23, Message::sparse}}},
    {Message::sparse, {{1, Message::tensor}, {2, Message::tensor}}},
    {Message::tensor, {{13, Message::entry}}},
};

struct Field {
    uint64_t number;
    size_t begin, end;
};

// Messages without the word are not looked into, since no entry that names a file is without it.
class Walk {
   public:
    Walk(const uint8_t *data, std::vector<size_t> words) : data_(data), words_(std::move(words)) {}

    void locations(Message message, size_t at, size_t end, int depth, std::set<std::string> &found) const {
        if (depth > MAX_DEPTH) throw std::invalid_argument("more than 100 messages within each other");
        const auto &children = CHILDREN.at(message);
        for (const Field &field : fields(at, end)) {
            const auto child = children.find(field.number);
            if (child == children.end() || !holds_word(field.begin, field.end)) continue;
            if (child->second == Message::entry) {
                entry(field.begin, field.end, found);
            } else {
                locations(child->second, field.begin, field.end, depth + 1, found);
            }
        }
    }

   private:
    // The values of an entry that has the word for a key.
    void entry(size_t at, size_t end, std::set<std::string> &found) const {
        const std::vector<Field> parts = fields(at, end);
        const bool names = std::any_of(parts.begin(), parts.end(),
                                       [&](const Field &one) { return one.number == KEY && text(one) == WORD; });
        if (!names) return;
        bool valued = false;
        for (const Field &one : parts) {
            if (one.number != VALUE) continue;
            found.insert(text(one));
            valued = true;
        }
        if (!valued) found.insert("");
    }

    std::string text(const Field &field) const {
        return std::string(reinterpret_cast<const char *>(data_) + field.begin, field.end - field.begin);
    }

    bool holds_word(size_t at, size_t end) const {
        const auto first = std::lower_bound(words_.begin(), words_.end(), at);
        return first != words_.end() && *first + WORD.size() <= end;
    }

    // Number, begin and end of each field that holds bytes.
    std::vector<Field> fields(size_t at, size_t end) const {
        std::vector<Field> found;
        while (at < end) {
            const uint64_t tag = varint(at, end), number = tag >> 3;
            if (number == 0 || number > LAST_FIELD) throw std::invalid_argument("a field of an unknown number");
            uint64_t size = 0;
            switch (tag & 7) {
                case VARINT: varint(at, end); continue;
                case FIXED_64: size = 8; break;
                case FIXED_32: size = 4; break;
                case BYTES: size = varint(at, end); break;
                default: throw std::invalid_argument("a field of an unknown wire type");
            }
            // A reader may cut larger numbers to 32 bits, and so read another message.
            if (size > LARGEST || size > end - at) throw std::invalid_argument("a field that ends after its message");
            if ((tag & 7) == BYTES) found.push_back({number, at, at + static_cast<size_t>(size)});
            at += static_cast<size_t>(size);
        }
        return found;
    }

    uint64_t varint(size_t &at, size_t end) const {
        uint64_t value = 0;
        for (int shift = 0; shift < 70 && at < end; shift += 7) {
            const uint8_t byte = data_[at++];
            if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7F) << shift;
            if (byte < 0x80) return value;
        }
        throw std::invalid_argument("a number without an end");
    }

    const uint8_t *data_;
    std::vector<size_t> words_;
};

}  // namespace

std::set<std::string> external_locations(const uint8_t *model, size_t size) {
    std::vector<size_t> words;
    const char *const begin = reinterpret_cast<const char *>(model), *const end = begin + size;
    for (const char *at = begin; (at = std::search(at, end, WORD.begin(), WORD.end())) != end; ++at) {
        words.push_back(static_cast<size_t>(at - begin));
    }
    std::set<std::string> found;
    if (!words.empty()) Walk(model, words).locations(Message::model, 0, size, 0, found);
    return found;
}

}  // namespace mmcaf
