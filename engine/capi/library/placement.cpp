#include "placement.hpp"

#include <map>
#include <stdexcept>

#include <openvino/op/constant.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/multiply.hpp>
#include <openvino/op/transpose.hpp>

#include "error.hpp"
#include "json.hpp"
#include "npz.hpp"
#include "zip.hpp"

namespace mmcaf {
namespace {

constexpr int FORMAT = 1;
constexpr size_t MAX_ARRAYS = 100'000;
constexpr uint64_t MAX_BYTES = 256u << 20;

using Kind = Json::Kind;

[[noreturn]] void refuse(const std::string &why) { throw std::runtime_error(why); }

// Gives an operator the attributes that were written down; what was not keeps its default.
class Attributes : public ov::AttributeVisitor {
   public:
    explicit Attributes(const Json &given) : given_(given) {}

    void on_adapter(const std::string &name, ov::ValueAccessor<void> &) override {
        refuse("the attribute " + name + " of a kernel is of an unknown type");
    }
    void on_adapter(const std::string &name, ov::ValueAccessor<std::string> &adapter) override {
        if (const Json *value = find(name, Kind::text)) adapter.set(value->text());
    }
    void on_adapter(const std::string &name, ov::ValueAccessor<bool> &adapter) override {
        if (const Json *value = find(name, Kind::boolean)) adapter.set(value->truth());
    }
    void on_adapter(const std::string &name, ov::ValueAccessor<int64_t> &adapter) override {
        if (const Json *value = find(name, Kind::integer)) adapter.set(value->integer());
    }
    void on_adapter(const std::string &name, ov::ValueAccessor<double> &adapter) override {
        if (const Json *value = given_.find(name)) adapter.set(value->number());
    }
    void on_adapter(const std::string &name, ov::ValueAccessor<std::vector<int64_t>> &adapter) override {
        const Json *value = find(name, Kind::list);
        if (value == nullptr) return;
        std::vector<int64_t> numbers;
        for (const Json &one : value->list()) numbers.push_back(one.integer());
        adapter.set(numbers);
    }

   private:
    const Json *find(const std::string &name, Kind kind) const {
        const Json *value = given_.find(name);
        if (value != nullptr && !value->is(kind)) refuse("the attribute " + name + " of a kernel is of another type");
        return value;
    }

    const Json &given_;
};

const Json &at(const Json &list, size_t place) {
    if (place >= list.list().size()) refuse("an edit is cut short");
    return list.list()[place];
}

class Edits {
   public:
    Edits(ov::Model &network, const Zip &file, const Json &document, const Kernels &kernels)
        : nodes_(network.get_ordered_ops()), file_(file), kernels_(kernels) {
        const Json *named = document.find("nodes");
        if (named == nullptr) refuse("it names no nodes");
        for (const auto &[place, facts] : named->object()) {
            const size_t which = std::stoul(place);
            const bool same = which < nodes_.size() && nodes_[which]->get_type_name() == at(facts, 0).text() &&
                              nodes_[which]->get_friendly_name() == at(facts, 1).text();
            if (!same) refuse("OpenVINO has read another network than the one that it was made of");
        }
    }

    void apply(const Json &edit) {
        const std::string &kind = at(edit, 0).text();
        if (kind == "constant") {
            keep(constant(at(edit, 1).integer()));
        } else if (kind == "kernel") {
            kernel(edit);
        } else if (kind == "transpose") {
            std::vector<int64_t> order;
            for (const Json &axis : at(edit, 2).list()) order.push_back(axis.integer());
            const auto axes = ov::op::v0::Constant::create(ov::element::i64, ov::Shape{order.size()}, order);
            keep(std::make_shared<ov::op::v1::Transpose>(value(at(edit, 1)), axes));
        } else if (kind == "convert") {
            keep(std::make_shared<ov::op::v0::Convert>(value(at(edit, 1)), ov::element::Type(at(edit, 2).text())));
        } else if (kind == "scale") {
            const float factor = static_cast<float>(at(edit, 2).number());
            const auto scalar = ov::op::v0::Constant::create(ov::element::f32, ov::Shape{}, {factor});
            keep(std::make_shared<ov::op::v1::Multiply>(value(at(edit, 1)), scalar));
        } else if (kind == "replace") {
            value(at(edit, 1)).replace(value(at(edit, 2)));
        } else {
            refuse("it has an unknown edit");
        }
    }

   private:
    ov::Output<ov::Node> value(const Json &reference) const {
        if (reference.is(Kind::integer)) {
            const auto number = static_cast<size_t>(reference.integer());
            if (number >= made_.size()) refuse("an edit names a value that is not made yet");
            return made_[number];
        }
        const auto place = static_cast<size_t>(at(reference, 0).integer());
        const auto port = static_cast<size_t>(at(reference, 1).integer());
        if (place >= nodes_.size() || port >= nodes_[place]->get_output_size()) refuse("an edit names no value");
        return nodes_[place]->output(port);
    }

    std::shared_ptr<ov::Node> constant(int64_t number) const {
        const std::string name = "constant." + std::to_string(number);
        const Zip::Member *member = file_.find(name + ".npy");
        if (member == nullptr) refuse("it holds no " + name);
        const NpyArray array = read_npy(name, file_.read(*member, MAX_BYTES));
        const ov::Shape shape(array.shape.begin(), array.shape.end());
        return ov::op::v0::Constant::create(ov::element::f32, shape, array.floats());
    }

    void kernel(const Json &edit) {
        ov::OutputVector inputs;
        for (const Json &reference : at(edit, 3).list()) inputs.push_back(value(reference));
        Attributes attributes(at(edit, 4));
        const ov::OutputVector outputs = kernels_.operator_named(at(edit, 1).text()).create(inputs, attributes);
        if (outputs.empty()) refuse("a kernel has no output");
        outputs[0].get_node()->set_friendly_name(at(edit, 2).text());
        made_.insert(made_.end(), outputs.begin(), outputs.end());
    }

    void keep(const std::shared_ptr<ov::Node> &node) { made_.push_back(node->output(0)); }

    const std::vector<std::shared_ptr<ov::Node>> nodes_;
    const Zip &file_;
    const Kernels &kernels_;
    ov::OutputVector made_;
};

void expect(const Json &document, const char *fact, const std::string &expected, const std::string &what) {
    const Json *found = document.find(fact);
    if (found == nullptr || !found->is(Kind::text)) refuse(std::string("it does not say its ") + fact);
    if (found->text() != expected) refuse("it serves " + what + " " + found->text() + ", not " + expected);
}

}  // namespace

const char *const PLACEMENT_ENDING = ".placement.npz";

void place_kernels(ov::Model &network, const std::vector<uint8_t> &placement, const std::string &model_sha256,
                   const Kernels &kernels) {
    const Zip file = Zip::of(placement, MAX_ARRAYS);
    const Zip::Member *text = file.find("placement.npy");
    if (text == nullptr) refuse("it holds no placement");
    const NpyArray bytes = read_npy("placement", file.read(*text, MAX_BYTES));
    const std::string_view told(reinterpret_cast<const char *>(bytes.bytes.data()), bytes.bytes.size());
    const Json document = parse_json(told, "placement", MMCAF_BUNDLE, MAX_BYTES);
    const Json *format = document.find("format"), *edits = document.find("edits");
    if (format == nullptr || *format != Json(FORMAT) || edits == nullptr) refuse("it is of an unknown format");
    expect(document, "model", model_sha256, "the model of SHA-256");
    expect(document, "openvino", openvino_build(), "OpenVINO");
    expect(document, "placing", kernels.placing(), "kernels of the state");
    Edits network_edits(network, file, document, kernels);
    for (const Json &edit : edits->list()) network_edits.apply(edit);
}

}  // namespace mmcaf
