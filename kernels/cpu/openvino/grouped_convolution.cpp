// GroupedConvolution: x [N, D, H, W, C], weight [C, C / groups, 3, 3, 3], scale [C], bias [C] -> y [N, D', H', W', C]: padded
// by one, clipped to `lower` and `upper`.

#include "../grouped_convolution.hpp"

#include "operators.hpp"
#include "packed.hpp"

namespace mmcaf::openvino {
namespace {

static constexpr double NO_LIMIT = 1e300;  // files of networks hold no infinity

// What lies beyond the values of float is infinite.
float limit(double value) {
    const double most = std::numeric_limits<float>::max(), infinity = std::numeric_limits<double>::infinity();
    return static_cast<float>(value > most ? infinity : value < -most ? -infinity : value);
}

struct Attributes : OutputAttributes {
    int64_t groups = 1, stride = 1;
    double lower = -NO_LIMIT, upper = NO_LIMIT;

    void visit(ov::AttributeVisitor &visitor) {
        OutputAttributes::visit(visitor);
        visitor.on_attribute("groups", groups);
        visitor.on_attribute("stride", stride);
        visitor.on_attribute("lower", lower);
        visitor.on_attribute("upper", upper);
    }

    mmcaf::GroupedConvolution::Options options(const Extent &map) const {
        const int64_t group = groups > 0 && map.channels % groups == 0 ? map.channels / groups : 0;
        return {group, stride, limit(lower), limit(upper)};
    }
};

class GroupedConvolution : public Operator<GroupedConvolution, Attributes> {
   public:
    OPENVINO_OP("GroupedConvolution", "mmcaf")

    void infer() {
        NODE_VALIDATION_CHECK(this, get_input_size() == 4, "has ", get_input_size(), " inputs, not 4");
        const Extent map = expect_extent(*this);
        const auto options = attributes.options(map);
        const Stored in = expect_stored(*this), out = attributes.stored(*this);
        const char *reason = mmcaf::GroupedConvolution::unsupported(map, in, out, options);
        NODE_VALIDATION_CHECK(this, !reason, reason);
        expect_floats(*this, 1, {map.channels, options.group, 3, 3, 3});
        expect_floats(*this, 2, {map.channels});
        expect_floats(*this, 3, {map.channels});
        set_output_type(0, element_of(out), shape_of(mmcaf::GroupedConvolution::answer(map, options.stride)));
    }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        const auto kernel = packed_.of(inputs, [&] {
            const Extent map = expect_extent(*this);
            const GroupedWeights weights{inputs[1].data<const float>(), inputs[2].data<const float>(),
                                         inputs[3].data<const float>()};
            return std::make_shared<const mmcaf::GroupedConvolution>(map, expect_stored(*this), attributes.stored(*this),
                                                                    attributes.options(map), weights);
        });
        kernel->run(inputs[0].data(), outputs[0].data(), plugin_threads());
        return true;
    }

   private:
    PackedOnce<mmcaf::GroupedConvolution> packed_;
};

}  // namespace

ov::Extension::Ptr grouped_convolution() { return std::make_shared<ov::OpExtension<GroupedConvolution>>(); }

}  // namespace mmcaf::openvino
