// An operator whose weights are packed at its first inference.

#pragma once

#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "../extent.hpp"
#include "operator.hpp"

namespace mmcaf::openvino {

// How the one output of an operator is stored, by the attributes that all operators have.
struct OutputAttributes {
    std::string floating = "f32";  // f32, bf16 or none
    std::string rounded = "none";  // i8 or none
    double step = 1;
    int64_t zero_point = 0;

    void visit(ov::AttributeVisitor &visitor) {
        visitor.on_attribute("floating", floating);
        visitor.on_attribute("rounded", rounded);
        visitor.on_attribute("step", step);
        visitor.on_attribute("zero_point", zero_point);
    }

    // Of the node, which is refused if it has no output, or two, or one that the kernels do not write.
    Stored stored(const ov::Node &node) const {
        NODE_VALIDATION_CHECK(&node, (floating == "none") != (rounded == "none"), "floating is \"", floating,
                              "\" and rounded \"", rounded, "\"; one of the two is none");
        NODE_VALIDATION_CHECK(&node, rounded == "none" || rounded == "i8", "rounded is \"", rounded, "\", not i8");
        NODE_VALIDATION_CHECK(&node, zero_point == 0, "zero_point is ", zero_point, ", not 0");
        const ov::element::Type type = element_type(node, rounded == "none" ? floating : rounded);
        const Type own = type == ov::element::f32 ? Type::f32 : type == ov::element::bf16 ? Type::bf16 : Type::i8;
        return {own, static_cast<float>(step)};
    }
};

inline ov::element::Type element_of(const Stored &stored) {
    return stored.type == Type::f32 ? ov::element::f32 : stored.type == Type::bf16 ? ov::element::bf16 : ov::element::i8;
}

// Input 0, which has 5 axes, all of known length.
inline Extent expect_extent(const ov::Node &node) {
    const ov::PartialShape &shape = node.get_input_partial_shape(0);
    NODE_VALIDATION_CHECK(&node, shape.is_static() && shape.size() == 5, "x is ", shape, ", not [N, D, H, W, C]");
    const ov::Shape lengths = shape.to_shape();
    const auto length = [&](size_t axis) { return static_cast<int64_t>(lengths[axis]); };
    return {length(0), length(1), length(2), length(3), length(4)};
}

inline ov::Shape shape_of(const Extent &extent) {
    const auto length = [](int64_t value) { return static_cast<size_t>(value); };
    return {length(extent.cases), length(extent.depth), length(extent.height), length(extent.width),
            length(extent.channels)};
}

// How input 0 is stored; the step of i8 is part of the scales.
inline Stored expect_stored(const ov::Node &node) {
    const ov::element::Type type = node.get_input_element_type(0);
    if (type == ov::element::f32 || type.is_dynamic()) return {Type::f32, 1};
    if (type == ov::element::bf16) return {Type::bf16, 1};
    NODE_VALIDATION_CHECK(&node, type == ov::element::i8, "x is ", type, ", not f32, bf16 or i8");
    return {Type::i8, 1};
}

// The kernel with the packed weights of the last inference: of all, where they are constants. Each inference compares
// them, which takes less time than packing by far, so that no other weights are ever taken for them.
template <class Kernel> class PackedOnce {
   public:
    template <class Make>
    std::shared_ptr<const Kernel> of(const ov::TensorVector &inputs, const Make &make) const {
        const std::lock_guard<std::mutex> guard(mutex_);
        if (!kernel_ || !same(inputs)) {
            kernel_ = make();
            weights_.clear();
            for (size_t at = 1; at < inputs.size(); ++at) {
                const char *bytes = static_cast<const char *>(inputs[at].data());
                weights_.emplace_back(bytes, bytes + inputs[at].get_byte_size());
            }
        }
        return kernel_;
    }

   private:
    bool same(const ov::TensorVector &inputs) const {
        if (weights_.size() + 1 != inputs.size()) return false;
        for (size_t at = 1; at < inputs.size(); ++at) {
            const std::vector<char> &kept = weights_[at - 1];
            if (kept.size() != inputs[at].get_byte_size()) return false;
            if (std::memcmp(kept.data(), inputs[at].data(), kept.size()) != 0) return false;
        }
        return true;
    }

    mutable std::mutex mutex_;
    mutable std::shared_ptr<const Kernel> kernel_;
    mutable std::vector<std::vector<char>> weights_;
};

}  // namespace mmcaf::openvino
