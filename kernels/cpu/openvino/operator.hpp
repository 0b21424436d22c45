// What the operators have in common.

#pragma once

#include <string>
#include <utility>

#include <openvino/core/op_extension.hpp>
#include <openvino/core/parallel.hpp>
#include <openvino/op/op.hpp>

#include "../maps.hpp"
#include "../parallel.hpp"

namespace mmcaf::openvino {

// The threads of the plug-in that calls an operator: fewer than there are tasks, where it was built to have fewer.
inline Parallel plugin_threads() {
    return {[](void *, int tasks, Parallel::Call call, const void *task) {
                ov::parallel_nt(tasks, [=](int index, int threads) {
                    for (; index < tasks; index += threads) call(task, index);
                });
            },
            nullptr};
}

inline ov::element::Type element_type(const ov::Node &node, const std::string &name) {
    if (name == "f32") return ov::element::f32;
    if (name == "bf16") return ov::element::bf16;
    if (name == "i8") return ov::element::i8;
    NODE_VALIDATION_CHECK(&node, name == "u8", "\"", name, "\" is none of f32, bf16, i8, u8");
    return ov::element::u8;
}

inline Type type_of(const ov::Tensor &tensor) {
    const ov::element::Type type = tensor.get_element_type();
    if (type == ov::element::f32) return Type::f32;
    if (type == ov::element::bf16) return Type::bf16;
    return type == ov::element::i8 ? Type::i8 : Type::u8;
}

inline Map map_of(const ov::Tensor &tensor) { return {tensor.data(), type_of(tensor)}; }

inline Output output_of(ov::Tensor &tensor) { return {tensor.data(), type_of(tensor)}; }

inline void expect_shape(const ov::Node &node, size_t input, const ov::PartialShape &shape) {
    const ov::PartialShape &given = node.get_input_partial_shape(input);
    NODE_VALIDATION_CHECK(&node, given.compatible(shape), "input ", input, " is ", given, ", not ", shape);
}

inline void expect_floats(const ov::Node &node, size_t input, const ov::PartialShape &shape) {
    const ov::element::Type type = node.get_input_element_type(input);
    NODE_VALIDATION_CHECK(&node, type == ov::element::f32, "input ", input, " is ", type, ", not f32");
    expect_shape(node, input, shape);
}

inline void expect_map(const ov::Node &node, size_t input, const ov::PartialShape &shape) {
    const ov::element::Type type = node.get_input_element_type(input);
    NODE_VALIDATION_CHECK(&node, type == ov::element::f32 || type == ov::element::bf16, "input ", input, " is ", type,
                          ", not f32 or bf16");
    expect_shape(node, input, shape);
}

// An operator of the opset "mmcaf" is a class derived from this, with `struct Attributes`, whose
// `void visit(ov::AttributeVisitor &)` names each of them, and with `infer()`, which checks the inputs and sets the outputs.
template <class Own, class Attributes> class Operator : public ov::op::Op {
   public:
    Operator() = default;

    bool visit_attributes(ov::AttributeVisitor &visitor) override {
        attributes.visit(visitor);
        return true;
    }

    void validate_and_infer_types() override { static_cast<Own *>(this)->infer(); }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector &inputs) const override {
        auto clone = std::make_shared<Own>();
        clone->attributes = attributes;
        clone->set_arguments(inputs);
        clone->validate_and_infer_types();
        return clone;
    }

    bool has_evaluate() const override { return true; }

    Attributes attributes;
};

}  // namespace mmcaf::openvino
