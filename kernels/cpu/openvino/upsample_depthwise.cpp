// UpsampleDepthwise: x [N, D, H, W, C] in f32 or bf16, taps [C, 27], bias [C] -> y [N, 2 D, 2 H, 2 W, C].

#include "../upsample_depthwise.hpp"

#include "operators.hpp"
#include "packed.hpp"

namespace mmcaf::openvino {
namespace {

class UpsampleDepthwise : public Operator<UpsampleDepthwise, OutputAttributes> {
   public:
    OPENVINO_OP("UpsampleDepthwise", "mmcaf")

    void infer() {
        NODE_VALIDATION_CHECK(this, get_input_size() == 3, "has ", get_input_size(), " inputs, not 3");
        const Extent map = expect_extent(*this);
        expect_map(*this, 0, get_input_partial_shape(0));
        expect_floats(*this, 1, {map.channels, 27});
        expect_floats(*this, 2, {map.channels});
        const Stored in = expect_stored(*this), out = attributes.stored(*this);
        const char *reason = mmcaf::UpsampleDepthwise::unsupported(map, in, out);
        NODE_VALIDATION_CHECK(this, !reason, reason);
        set_output_type(0, element_of(out), shape_of(mmcaf::UpsampleDepthwise::answer(map)));
    }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        const auto kernel = packed_.of(inputs, [&] {
            const UpsampleWeights weights{inputs[1].data<const float>(), inputs[2].data<const float>()};
            return std::make_shared<const mmcaf::UpsampleDepthwise>(expect_extent(*this), expect_stored(*this),
                                                                   attributes.stored(*this), weights);
        });
        kernel->run(inputs[0].data(), outputs[0].data(), plugin_threads());
        return true;
    }

   private:
    PackedOnce<mmcaf::UpsampleDepthwise> packed_;
};

}  // namespace

ov::Extension::Ptr upsample_depthwise() { return std::make_shared<ov::OpExtension<UpsampleDepthwise>>(); }

}  // namespace mmcaf::openvino
