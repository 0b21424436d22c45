// MaxPool: x [N, D, H, W, C] -> y [N, D', H', W', C] of its type. `kernel` and `strides` are three numbers, `pads` six: before
// each axis, then after each.

#include "../max_pool.hpp"

#include "operators.hpp"
#include "packed.hpp"

namespace mmcaf::openvino {
namespace {

struct Attributes {
    std::vector<int64_t> kernel{1, 1, 1}, strides{1, 1, 1}, pads{0, 0, 0, 0, 0, 0};

    void visit(ov::AttributeVisitor &visitor) {
        visitor.on_attribute("kernel", kernel);
        visitor.on_attribute("strides", strides);
        visitor.on_attribute("pads", pads);
    }

    mmcaf::MaxPool::Options options(const ov::Node &node) const {
        NODE_VALIDATION_CHECK(&node, kernel.size() == 3 && strides.size() == 3 && pads.size() == 6, "kernel has ",
                              kernel.size(), ", strides ", strides.size(), " and pads ", pads.size(),
                              " numbers, not 3, 3 and 6");
        return {{kernel[0], kernel[1], kernel[2]},
                {strides[0], strides[1], strides[2]},
                {pads[0], pads[1], pads[2]},
                {pads[3], pads[4], pads[5]}};
    }
};

class MaxPool : public Operator<MaxPool, Attributes> {
   public:
    OPENVINO_OP("MaxPool", "mmcaf")

    void infer() {
        NODE_VALIDATION_CHECK(this, get_input_size() == 1, "has ", get_input_size(), " inputs, not 1");
        const Extent map = expect_extent(*this);
        const Stored stored = expect_stored(*this);
        const auto options = attributes.options(*this);
        const char *reason = mmcaf::MaxPool::unsupported(map, stored.type, options);
        NODE_VALIDATION_CHECK(this, !reason, reason);
        set_output_type(0, element_of(stored), shape_of(mmcaf::MaxPool::answer(map, options)));
    }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        const mmcaf::MaxPool kernel(expect_extent(*this), expect_stored(*this).type, attributes.options(*this));
        kernel.run(inputs[0].data(), outputs[0].data(), plugin_threads());
        return true;
    }
};

}  // namespace

ov::Extension::Ptr max_pool() { return std::make_shared<ov::OpExtension<MaxPool>>(); }

}  // namespace mmcaf::openvino
