#include "network.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <new>
#include <set>

#include "accuracy.hpp"
#include "cancel.hpp"
#include "error.hpp"
#include "golden.hpp"

namespace mmcaf {
namespace {

constexpr size_t CAUSE_BYTES = 4096;
constexpr std::chrono::milliseconds POLL{20};
const char *const RUNNING = "running";
const Remedy SEE_WHAT_RUNS{"See what this machine can run", "", "", "mmcaf doctor"};

// A runtime's message on one line.
std::string cleaned(const std::string &text) {
    std::string flat;
    for (const char one : text.substr(0, CAUSE_BYTES)) {
        const bool blank = static_cast<unsigned char>(one) <= ' ';
        if (!blank) flat += one;
        if (blank && !flat.empty() && flat.back() != ' ') flat += ' ';
    }
    return flat;
}

std::string type_name(const ov::element::Type &type) {
    if (type == ov::element::f32) return "float32";
    return type == ov::element::i64 ? "int64" : type.to_string();
}

std::string declared(const ov::Output<ov::Node> &port) {
    const ov::PartialShape shape = port.get_partial_shape();
    if (shape.rank().is_dynamic()) return type_name(port.get_element_type()) + " of any shape";
    std::string axes;
    for (const ov::Dimension &axis : shape) {
        axes += axes.empty() ? "" : ", ";
        axes += axis.is_dynamic() ? "?" : std::to_string(axis.get_length());
    }
    return type_name(port.get_element_type()) + " [" + axes + "]";
}

// Of the axes that a caller is free in, a model may say anything.
bool may_be(const ov::Output<ov::Node> &port, const TensorSpec &spec) {
    const ov::PartialShape shape = port.get_partial_shape();
    if (type_name(port.get_element_type()) != spec.dtype) return false;
    if (shape.rank().is_dynamic()) return true;
    if (shape.size() != spec.shape.size()) return false;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
        const int64_t wanted = spec.shape[axis];
        if (wanted > 0 && shape[axis].is_static() && shape[axis].get_length() != wanted) return false;
    }
    return true;
}

Error not_as_listed(const std::string &model, const std::string &what, const std::string &expected, const std::string &got) {
    return Error(MMCAF_BUNDLE, model + ": " + what + ": expected " + expected + ", as the manifest says, got " + got + ".",
                 {Remedy{"Export the bundle again.", "", "", ""}});
}

void expect_ports(const std::string &model, const std::string &kind, const std::vector<ov::Output<ov::Node>> &ports,
                  const std::vector<TensorSpec> &specs) {
    for (const TensorSpec &spec : specs) {
        const auto found = std::find_if(ports.begin(), ports.end(),
                                        [&](const auto &port) { return port.get_names().count(spec.name) > 0; });
        if (found != ports.end() && may_be(*found, spec)) continue;
        throw not_as_listed(model, kind + " " + spec.name, spec.dtype + " [" + in_words(spec.shape) + "]",
                            found == ports.end() ? "none" : declared(*found));
    }
}

void expect_inputs(const std::string &model, const ov::Model &network, const std::vector<TensorSpec> &specs) {
    for (const ov::Output<const ov::Node> &port : network.inputs()) {
        for (const std::string &name : port.get_names()) {
            const bool known =
                std::any_of(specs.begin(), specs.end(), [&](const TensorSpec &spec) { return spec.name == name; });
            if (!known) throw not_as_listed(model, "input " + name, "none of this name", "one");
        }
    }
}

std::string listed(std::vector<std::string> names) {
    std::sort(names.begin(), names.end());
    std::string text;
    for (const std::string &name : names) text += (text.empty() ? "'" : ", '") + name + "'";
    return "[" + text + "]";
}

void check_values(const TensorSpec &spec, const Tensor &given) {
    if (!given.whole && !std::all_of(given.reals.begin(), given.reals.end(), [](float one) { return std::isfinite(one); })) {
        throw Error(MMCAF_USAGE, "Input " + spec.name + " holds NaN or infinity.",
                    {Remedy{"Check how it was prepared.", "", "", ""}});
    }
    const std::vector<int64_t> &whole = given.integers;
    if (spec.kind == "tokens" && !whole.empty() && *std::min_element(whole.begin(), whole.end()) < 0) {
        throw Error(MMCAF_USAGE, "Input " + spec.name + " holds " +
                                     std::to_string(*std::min_element(whole.begin(), whole.end())) +
                                     "; numbers of word pieces from 0 are expected.");
    }
    if (spec.kind != "token_mask") return;
    const size_t length = static_cast<size_t>(given.shape[1]);
    for (size_t row = 0; row < whole.size(); row += length) {
        const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(row), end = begin + static_cast<std::ptrdiff_t>(length);
        const bool bits = std::all_of(begin, end, [](int64_t one) { return one == 0 || one == 1; });
        if (!bits || std::find(begin, end, 1) == end) {
            throw Error(MMCAF_USAGE, "Input " + spec.name + " must hold 1 and 0 alone, and a 1 in each row.");
        }
    }
}

void check_form(const TensorSpec &spec, const Tensor &given, int64_t longest) {
    const std::string type = given.whole ? "int64" : "float32", shape = in_words(spec.shape);
    if (type != spec.dtype) {
        throw Error(MMCAF_USAGE, "Input " + spec.name + " is " + type + "; " + spec.dtype + " [" + shape + "] is expected.");
    }
    size_t size = 1;
    for (const int64_t axis : given.shape) size *= static_cast<size_t>(axis);
    if (!fits(spec, given.shape, longest) || size != (given.whole ? given.integers.size() : given.reals.size())) {
        const bool text = std::count(spec.shape.begin(), spec.shape.end(), kLengthAxis) > 0;
        throw Error(MMCAF_USAGE, "Input " + spec.name + " has shape [" + in_words(given.shape) + "]; [" + shape + "]" +
                                     (text ? ", L from 1 to " + std::to_string(longest) + "," : "") + " is expected.");
    }
}

std::string numbers(const std::set<int64_t> &found) { return "[" + in_words({found.begin(), found.end()}) + "]"; }

}  // namespace

NetworkSpecs NetworkSpecs::of(const Manifest &manifest, const std::string &precision, int threads) {
    return {manifest.inputs, manifest.outputs, manifest.text ? manifest.text->buckets : std::vector<int64_t>(), precision,
            *find(manifest.models, precision), threads};
}

ov::AnyMap NetworkSpecs::configuration() const {
    return {{"INFERENCE_PRECISION_HINT", hint_of(precision)},
            {"PERFORMANCE_HINT", std::string("LATENCY")},
            {"INFERENCE_NUM_THREADS", threads},
            {"NUM_STREAMS", 1}};
}

std::vector<const Tensor *> checked_inputs(const std::vector<Tensor> &given, const NetworkSpecs &specs) {
    std::vector<std::string> came, expected;
    for (const Tensor &one : given) came.push_back(one.name);
    for (const TensorSpec &spec : specs.inputs) expected.push_back(spec.name);
    if (listed(came) != listed(expected)) {
        throw Error(MMCAF_USAGE, "Inputs " + listed(came) + " came; " + listed(expected) + " are expected.");
    }
    std::vector<const Tensor *> checked;
    std::set<int64_t> batches, lengths;
    for (const TensorSpec &spec : specs.inputs) {
        const Tensor &one = *std::find_if(given.begin(), given.end(), [&](const Tensor &one) { return one.name == spec.name; });
        check_form(spec, one, specs.lengths.empty() ? 0 : specs.lengths.back());
        check_values(spec, one);
        batches.insert(one.shape[0]);
        if (spec.shape.back() == kLengthAxis) lengths.insert(one.shape[1]);
        checked.push_back(&one);
    }
    if (batches.size() > 1) throw Error(MMCAF_USAGE, "The inputs have different batch sizes: " + numbers(batches) + ".");
    if (lengths.size() > 1) throw Error(MMCAF_USAGE, "The text inputs have different lengths: " + numbers(lengths) + ".");
    return checked;
}

template <class Work> auto Network::translating(const char *doing, Work work) {
    const std::string what = std::string(doing) + " " + specs_.model;
    try {
        return work();
    } catch (const Error &) {
        throw;
    } catch (const std::bad_alloc &) {
        throw Error(MMCAF_BACKEND, "There is not enough memory for " + what + " in openvino.",
                    {Remedy{"Close other programs, or use fewer threads", "threads", "", ""}});
    } catch (const std::exception &failure) {
        // What a runtime says while it holds a study is not quoted.
        const std::string why = doing == RUNNING ? "the runtime raised an error" : cleaned(failure.what());
        throw Error(MMCAF_BACKEND, "openvino " + openvino_release() + " failed while " + what + ": " + why + ".",
                    {SEE_WHAT_RUNS});
    }
}

Network::Network(const NetworkSpecs &specs, const Kernels &kernels) : specs_(specs) {
    translating("preparing to load", [&] { kernels.add_to(core_); });
}

void Network::build(const Read &read, const std::function<void(ov::Model &)> &change) {
    translating("loading", [&] {
        const std::shared_ptr<ov::Model> network = read(core_);
        expect_inputs(specs_.model, *network, specs_.inputs);
        expect_ports(specs_.model, "input", network->inputs(), specs_.inputs);
        expect_ports(specs_.model, "output", network->outputs(), specs_.outputs);
        std::map<std::string, ov::PartialShape> shapes;
        for (const TensorSpec &spec : specs_.inputs) {
            ov::PartialShape shape;
            for (const int64_t axis : spec.shape) {
                shape.push_back(axis == kBatchAxis    ? ov::Dimension(1)
                                : axis == kLengthAxis ? ov::Dimension(1, specs_.lengths.back())
                                                      : ov::Dimension(axis));
            }
            shapes[spec.name] = shape;
        }
        network->reshape(shapes);
        change(*network);
        start(core_.compile_model(network, "CPU", specs_.configuration()));
    });
}

void Network::load(const KeptEngine &engine) {
    translating("loading the kept engine of", [&] {
        const ov::Tensor blob(ov::element::u8, ov::Shape{engine.blob->size()}, const_cast<uint8_t *>(engine.blob->data()));
        held_ = engine.blob;
        start(core_.import_model(blob, "CPU", specs_.configuration()));
        held_->page_out();  // Most weights were copied into the order that the processor prefers.
    });
}

void Network::write(std::ostream &stream) {
    translating("exporting", [&] { compiled_.export_model(stream); });
}

void Network::start(ov::CompiledModel compiled) {
    compiled_ = std::move(compiled);
    request_ = compiled_.create_infer_request();
}

void Network::close() {
    request_ = {};
    compiled_ = {};
    held_.reset();
}

std::vector<Tensor> Network::infer(const std::vector<Tensor> &window, bool optional) {
    return translating(RUNNING, [&] {
        for (const Tensor &one : window) {
            const ov::Shape shape(one.shape.begin(), one.shape.end());
            void *values = one.whole ? static_cast<void *>(const_cast<int64_t *>(one.integers.data()))
                                     : static_cast<void *>(const_cast<float *>(one.reals.data()));
            request_.set_tensor(one.name, ov::Tensor(one.whole ? ov::element::i64 : ov::element::f32, shape, values));
        }
        if (limits_of_thread() == nullptr) {
            request_.infer();
        } else {  // Only a request that runs beside this thread can be cancelled.
            request_.start_async();
            try {
                while (!request_.wait_for(POLL)) check_cancelled();
            } catch (...) {
                request_.cancel();
                try {
                    request_.wait();
                } catch (const std::exception &) {
                }
                throw;
            }
        }
        std::vector<Tensor> answers;
        for (const TensorSpec &spec : specs_.outputs) {
            if (spec.optional && !optional) continue;
            const ov::Tensor found = request_.get_tensor(spec.name);
            const ov::Shape shape = found.get_shape();
            Tensor answer{spec.name, {shape.begin(), shape.end()}, false, {}, {}};
            const int64_t longest = specs_.lengths.empty() ? 0 : specs_.lengths.back();
            if (found.get_element_type() != ov::element::f32 || !fits(spec, answer.shape, longest)) {
                throw not_as_listed(specs_.model, "output " + spec.name, spec.dtype + " [" + in_words(spec.shape) + "]",
                                    type_name(found.get_element_type()) + " [" + in_words(answer.shape) + "]");
            }
            answer.reals.assign(found.data<float>(), found.data<float>() + found.get_size());
            answers.push_back(std::move(answer));
        }
        return answers;
    });
}

std::vector<std::pair<std::string, int>> Network::kernels() const { return kernels_in(compiled_); }

bool Network::has_units(const std::string &type) const {
    const auto units = core_.get_property("CPU", "OPTIMIZATION_CAPABILITIES").as<std::vector<std::string>>();
    return std::find(units.begin(), units.end(), type) != units.end();
}

}  // namespace mmcaf
