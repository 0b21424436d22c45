// MultiScaleDepthwise: x [N, D, H, W, C], taps [C, 153], scales [3, C], bias [3, C] -> y [N, D, H, W, C], or of the size
// `resized`, where it is not empty.

#include "../multi_scale_depthwise.hpp"

#include "operators.hpp"
#include "packed.hpp"

namespace mmcaf::openvino {
namespace {

struct Attributes : OutputAttributes {
    std::vector<int64_t> resized;

    void visit(ov::AttributeVisitor &visitor) {
        OutputAttributes::visit(visitor);
        visitor.on_attribute("resized", resized);
    }

    std::array<int64_t, 3> size(const Extent &map) const {
        if (resized.empty()) return {map.depth, map.height, map.width};
        return {resized[0], resized[1], resized[2]};
    }
};

class MultiScaleDepthwise : public Operator<MultiScaleDepthwise, Attributes> {
   public:
    OPENVINO_OP("MultiScaleDepthwise", "mmcaf")

    void infer() {
        NODE_VALIDATION_CHECK(this, get_input_size() == 4, "has ", get_input_size(), " inputs, not 4");
        const Extent map = expect_extent(*this);
        expect_floats(*this, 1, {map.channels, 153});
        expect_floats(*this, 2, {3, map.channels});
        expect_floats(*this, 3, {3, map.channels});
        const size_t lengths = attributes.resized.size();
        NODE_VALIDATION_CHECK(this, lengths == 0 || lengths == 3, "resized has ", lengths, " lengths, not 3 or none");
        const auto size = attributes.size(map);
        const Stored in = expect_stored(*this), out = attributes.stored(*this);
        const char *reason = mmcaf::MultiScaleDepthwise::unsupported(map, in, out, size);
        NODE_VALIDATION_CHECK(this, !reason, reason);
        set_output_type(0, element_of(out), shape_of({map.cases, size[0], size[1], size[2], map.channels}));
    }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        const auto kernel = packed_.of(inputs, [&] {
            const Extent map = expect_extent(*this);
            const MultiScaleWeights weights{inputs[1].data<const float>(), inputs[2].data<const float>(),
                                            inputs[3].data<const float>()};
            return std::make_shared<const mmcaf::MultiScaleDepthwise>(
                map, expect_stored(*this), attributes.stored(*this), attributes.size(map), weights);
        });
        kernel->run(inputs[0].data(), outputs[0].data(), plugin_threads());
        return true;
    }

   private:
    PackedOnce<mmcaf::MultiScaleDepthwise> packed_;
};

}  // namespace

ov::Extension::Ptr multi_scale_depthwise() { return std::make_shared<ov::OpExtension<MultiScaleDepthwise>>(); }

}  // namespace mmcaf::openvino
