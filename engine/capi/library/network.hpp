// A network in OpenVINO on this processor: compiled from its model, or loaded as an earlier process compiled it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <openvino/runtime/core.hpp>

#include "engine_cache.hpp"
#include "kernels.hpp"
#include "manifest.hpp"
#include "tensor.hpp"

namespace mmcaf {

// What a network is compiled for. lengths: that texts are padded to, ascending.
struct NetworkSpecs {
    std::vector<TensorSpec> inputs, outputs;
    std::vector<int64_t> lengths;
    std::string precision, model;  // model: the file's name, for messages
    int threads;

    static NetworkSpecs of(const Manifest &manifest, const std::string &precision, int threads);
    ov::AnyMap configuration() const;
};

// Throws Error(MMCAF_BACKEND) wherever the runtime fails.
class Network {
   public:
    Network(const NetworkSpecs &specs, const Kernels &kernels);

    // Gives the model as OpenVINO reads it with this core, with the shapes that it is compiled for.
    using Read = std::function<std::shared_ptr<ov::Model>(ov::Core &core)>;
    // Throws also Error(MMCAF_BUNDLE): inputs or outputs are not the manifest's. change: done to the network before it is
    // compiled.
    void build(const Read &read, const std::function<void(ov::Model &)> &change);
    void load(const KeptEngine &engine);
    void write(std::ostream &stream);
    void close();

    // One window, N = 1, checked; every output, or those that are not optional. One thread at a time.
    std::vector<Tensor> infer(const std::vector<Tensor> &window, bool optional);

    std::vector<std::pair<std::string, int>> kernels() const;
    bool has_units(const std::string &type) const;  // such as BF16

   private:
    void start(ov::CompiledModel compiled);
    template <class Work> auto translating(const char *doing, Work work);

    const NetworkSpecs &specs_;
    ov::Core core_;
    ov::CompiledModel compiled_;
    ov::InferRequest request_;
    std::shared_ptr<Mapping> held_;  // OpenVINO goes on using weights where they lie
};

// The inputs of so many windows, in the order of the specs. Throws Error(MMCAF_USAGE): one is missing, unknown, or of the
// wrong shape or type, or holds NaN or infinity.
std::vector<const Tensor *> checked_inputs(const std::vector<Tensor> &given, const NetworkSpecs &specs);

}  // namespace mmcaf
