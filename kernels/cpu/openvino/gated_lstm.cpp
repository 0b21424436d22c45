// GatedLstm: inputs [M, n, 2, N, 4 H], gates [M, n, 2, N, H], output and cell [1, 2, N, H] before the first step,
// packed weights [2, B, H, 64] -> outputs, like gates; M times n steps. GatedLstmStates: the same -> cells, like gates,
// and curves, like inputs.

#include "../gated_lstm.hpp"

#include "operator.hpp"
#include "operators.hpp"

namespace mmcaf::openvino {
namespace {

struct None {
    void visit(ov::AttributeVisitor &) {}
};

void expect_sequence(const ov::Node &node) {
    NODE_VALIDATION_CHECK(&node, node.get_input_size() == 5, "has ", node.get_input_size(), " inputs, not 5");
    const ov::PartialShape &starts = node.get_input_partial_shape(2), &weights = node.get_input_partial_shape(4);
    NODE_VALIDATION_CHECK(&node, starts.rank() == 4 && starts[3].is_static(), "output is ", starts,
                          ", not [1, 2, N, H]");
    NODE_VALIDATION_CHECK(&node, weights.is_static(), "weights are ", weights, ", which is not static");
    const int64_t hidden = starts[3].get_length(), blocks = (4 * hidden + GATED_LSTM_BLOCK - 1) / GATED_LSTM_BLOCK;
    const ov::Dimension any, cases = starts[2];
    expect_floats(node, 0, {any, any, 2, cases, 4 * hidden});
    expect_floats(node, 1, {any, any, 2, cases, hidden});
    expect_floats(node, 2, {1, 2, cases, hidden});
    expect_floats(node, 3, {1, 2, cases, hidden});
    expect_floats(node, 4, {2, blocks, hidden, GATED_LSTM_BLOCK});
}

mmcaf::GatedLstm sequence(const ov::TensorVector &inputs) {
    const ov::Shape shape = inputs[1].get_shape();
    mmcaf::GatedLstm layer{};
    layer.steps = static_cast<int64_t>(shape[0] * shape[1]);
    layer.cases = static_cast<int64_t>(shape[3]);
    layer.hidden = static_cast<int64_t>(shape[4]);
    layer.inputs = inputs[0].data<const float>();
    layer.gates = inputs[1].data<const float>();
    layer.hidden_start = inputs[2].data<const float>();
    layer.cell_start = inputs[3].data<const float>();
    layer.weights = inputs[4].data<const float>();
    return layer;
}

class GatedLstm : public Operator<GatedLstm, None> {
   public:
    OPENVINO_OP("GatedLstm", "mmcaf")

    void infer() {
        expect_sequence(*this);
        set_output_type(0, ov::element::f32, get_input_partial_shape(1));
    }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        mmcaf::GatedLstm layer = sequence(inputs);
        layer.outputs = outputs[0].data<float>();
        mmcaf::gated_lstm(layer, plugin_threads());
        return true;
    }
};

class GatedLstmStates : public Operator<GatedLstmStates, None> {
   public:
    OPENVINO_OP("GatedLstmStates", "mmcaf")

    void infer() {
        expect_sequence(*this);
        set_output_type(0, ov::element::f32, get_input_partial_shape(1));
        set_output_type(1, ov::element::f32, get_input_partial_shape(0));
    }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        mmcaf::GatedLstm layer = sequence(inputs);
        layer.cells = outputs[0].data<float>();
        layer.curves = outputs[1].data<float>();
        mmcaf::gated_lstm(layer, plugin_threads());
        return true;
    }
};

}  // namespace

ov::Extension::Ptr gated_lstm() { return std::make_shared<ov::OpExtension<GatedLstm>>(); }

ov::Extension::Ptr gated_lstm_states() { return std::make_shared<ov::OpExtension<GatedLstmStates>>(); }

}  // namespace mmcaf::openvino
