// GroupNormAct: x [N, D, H, W, C], weight [C], bias [C], residual like x if `residual`, and if `gate` [hidden, C],
// [hidden], [C, hidden], [C] -> y in `floating`, or rounded in `rounded`, or both in this order.

#include "../groupnorm_act.hpp"

#include "operator.hpp"
#include "operators.hpp"

namespace mmcaf::openvino {
namespace {

struct Attributes {
    int64_t groups = 1;
    double eps = 1e-5;
    double slope = 1;
    bool residual = false, gate = false;
    std::string floating = "f32";  // f32, bf16 or none
    std::string rounded = "none";  // i8, u8 or none
    double step = 1;
    int64_t zero_point = 0;

    void visit(ov::AttributeVisitor &visitor) {
        visitor.on_attribute("groups", groups);
        visitor.on_attribute("eps", eps);
        visitor.on_attribute("slope", slope);
        visitor.on_attribute("residual", residual);
        visitor.on_attribute("gate", gate);
        visitor.on_attribute("floating", floating);
        visitor.on_attribute("rounded", rounded);
        visitor.on_attribute("step", step);
        visitor.on_attribute("zero_point", zero_point);
    }
};

class GroupNormAct : public Operator<GroupNormAct, Attributes> {
   public:
    OPENVINO_OP("GroupNormAct", "mmcaf")

    void infer() {
        const auto &own = attributes;
        const size_t inputs = 3 + (own.residual ? 1 : 0) + (own.gate ? 4 : 0);
        NODE_VALIDATION_CHECK(this, get_input_size() == inputs, "has ", get_input_size(), " inputs, not ", inputs);
        const ov::PartialShape &shape = get_input_partial_shape(0);
        NODE_VALIDATION_CHECK(this, shape.rank().is_static() && shape.size() >= 2 && shape[shape.size() - 1].is_static(),
                              "x is ", shape, ", not [N, ..., C]");
        const int64_t channels = shape[shape.size() - 1].get_length();
        NODE_VALIDATION_CHECK(this, own.groups > 0 && channels % own.groups == 0, channels, " channels make no ",
                              own.groups, " groups");
        NODE_VALIDATION_CHECK(this, own.slope >= 0 && own.slope <= 1, "slope is ", own.slope, ", not 0 to 1");
        NODE_VALIDATION_CHECK(this, own.step > 0, "step is ", own.step, ", not above 0");
        expect_map(*this, 0, shape);
        size_t at = 1;
        for (; at < 3; ++at) expect_floats(*this, at, {channels});
        if (own.residual) expect_map(*this, at++, shape);
        if (own.gate) {
            const auto hidden = get_input_partial_shape(at)[0];
            expect_floats(*this, at++, {hidden, channels});
            expect_floats(*this, at++, {hidden});
            expect_floats(*this, at++, {channels, hidden});
            expect_floats(*this, at++, {channels});
        }
        size_t outputs = 0;
        for (const std::string &type : {own.floating, own.rounded}) {
            if (type != "none") set_output_type(outputs++, element_type(*this, type), shape);
        }
        NODE_VALIDATION_CHECK(this, outputs > 0, "neither a floating nor a rounded output is asked for");
    }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        const auto &own = attributes;
        const ov::Shape shape = inputs[0].get_shape();
        mmcaf::GroupNormAct layer{};
        layer.cases = static_cast<int64_t>(shape.front());
        layer.channels = static_cast<int64_t>(shape.back());
        layer.positions = 1;
        for (size_t axis = 1; axis + 1 < shape.size(); ++axis) layer.positions *= static_cast<int64_t>(shape[axis]);
        layer.groups = own.groups;
        layer.eps = own.eps;
        layer.slope = static_cast<float>(own.slope);
        layer.step = static_cast<float>(own.step);
        layer.zero_point = static_cast<int>(own.zero_point);
        layer.x = map_of(inputs[0]);
        layer.weight = inputs[1].data<const float>();
        layer.bias = inputs[2].data<const float>();
        size_t at = 3;
        if (own.residual) layer.residual = map_of(inputs[at++]);
        if (own.gate) {
            layer.hidden = static_cast<int64_t>(inputs[at].get_shape()[0]);
            layer.narrow = inputs[at++].data<const float>();
            layer.narrow_bias = inputs[at++].data<const float>();
            layer.widen = inputs[at++].data<const float>();
            layer.widen_bias = inputs[at++].data<const float>();
        }
        size_t made = 0;
        if (own.floating != "none") layer.floating = output_of(outputs[made++]);
        if (own.rounded != "none") layer.rounded = output_of(outputs[made++]);
        mmcaf::groupnorm_act(layer, plugin_threads());
        return true;
    }
};

}  // namespace

ov::Extension::Ptr group_norm_act() { return std::make_shared<ov::OpExtension<GroupNormAct>>(); }

}  // namespace mmcaf::openvino
