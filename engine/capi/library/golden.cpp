#include "golden.hpp"

#include <set>
#include <stdexcept>

#include "error.hpp"

namespace mmcaf {
namespace {

constexpr size_t MAX_ARRAYS = 1000;
constexpr uint64_t MAX_FILE = (256u << 20) + 2048;

// One case of an array of several, as a tensor whose first length is 1.
Tensor case_of(const NpyArray &array, const TensorSpec &spec, size_t at) {
    Tensor made{spec.name, array.shape, spec.dtype == "int64", {}, {}};
    made.shape[0] = 1;
    const auto part = [&](const auto &values) {
        const auto size = static_cast<std::ptrdiff_t>(values.size() / static_cast<size_t>(array.shape[0]));
        const auto begin = values.begin() + static_cast<std::ptrdiff_t>(at) * size;
        return std::decay_t<decltype(values)>(begin, begin + size);
    };
    if (made.whole) {
        made.integers = part(array.integers());
    } else {
        made.reals = part(array.floats());
    }
    return made;
}

}  // namespace

const char *const GOLDEN_NAME = "golden.npz";

bool fits(const TensorSpec &spec, const std::vector<int64_t> &shape, int64_t longest) {
    if (shape.size() != spec.shape.size()) return false;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
        const int64_t wanted = spec.shape[axis], length = shape[axis];
        const bool free = wanted == kBatchAxis || (wanted == kLengthAxis && length <= longest);
        if (free ? length < 1 : length != wanted) return false;
    }
    return true;
}

std::string in_words(const std::vector<int64_t> &shape) {
    std::string words;
    for (const int64_t axis : shape) {
        words += words.empty() ? "" : ", ";
        words += axis == kBatchAxis ? "N" : axis == kLengthAxis ? "L" : std::to_string(axis);
    }
    return words;
}

Golden::Golden(std::vector<uint8_t> file, std::string shown) : file_(std::move(file)), shown_(std::move(shown)) {
    try {
        zip_ = std::make_unique<Zip>(Zip::of(file_, MAX_ARRAYS));
    } catch (const ZipFault &fault) {
        refuse(fault.what());
    }
}

void Golden::refuse(const std::string &why) const {
    throw Error(MMCAF_BUNDLE, shown_ + ": " + GOLDEN_NAME + " cannot be used: " + why + ".",
                {Remedy{"Export the bundle again.", "", "", ""}});
}

bool Golden::has(const std::string &name) const { return zip_->find(name + ".npy") != nullptr; }

NpyArray Golden::array(const std::string &name) const {
    try {
        const Zip::Member *member = zip_->find(name + ".npy");
        if (member == nullptr) refuse("it holds no " + name);
        return read_npy(name, zip_->read(*member, MAX_FILE));
    } catch (const ZipFault &fault) {
        refuse(fault.what());
    } catch (const std::invalid_argument &fault) {
        refuse(fault.what());
    }
}

std::vector<Golden::Case> Golden::cases(const Manifest &manifest, const std::string &precision) const {
    const int64_t longest = manifest.text ? manifest.text->buckets.back() : 0;
    std::vector<Case> found;
    std::set<int64_t> batches, lengths;
    const auto take = [&](const TensorSpec &spec, const std::string &named, std::vector<Tensor> Case::*side) {
        const NpyArray array = this->array(named);
        if (array.dtype() != spec.dtype || !fits(spec, array.shape, longest)) {
            refuse(named + " is " + array.dtype() + " [" + in_words(array.shape) + "]; expected " + spec.dtype + " [" +
                   in_words(spec.shape) + "]");
        }
        batches.insert(array.shape[0]);
        if (side == &Case::inputs && spec.shape.back() == kLengthAxis) lengths.insert(array.shape[1]);
        if (batches.size() > 1 || lengths.size() > 1) refuse("its arrays are of several numbers of cases, or lengths of texts");
        found.resize(static_cast<size_t>(array.shape[0]));
        for (size_t at = 0; at < found.size(); ++at) (found[at].*side).push_back(case_of(array, spec, at));
    };
    for (const TensorSpec &spec : manifest.inputs) take(spec, spec.name, &Case::inputs);
    for (const TensorSpec &spec : manifest.outputs) {
        const std::string own = spec.name + "@" + precision;
        take(spec, has(own) ? own : spec.name, &Case::outputs);
    }
    return found;
}

}  // namespace mmcaf
