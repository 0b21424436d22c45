#include "opened.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <system_error>

#include "call.hpp"
#include "processor.hpp"
#include "text.hpp"

namespace mmcaf {
namespace {

constexpr uint64_t MOST_VOCABULARY_BYTES = 16 << 20, MOST_GOLDEN_BYTES = 1 << 30;

std::optional<Vocabulary> vocabulary_of(const Bundle &bundle) {
    if (!bundle.manifest().text) return std::nullopt;
    const std::string &name = bundle.manifest().text->vocabulary;
    const std::vector<uint8_t> content = bundle.read(name, MOST_VOCABULARY_BYTES);
    return read_vocabulary({reinterpret_cast<const char *>(content.data()), content.size()}, bundle.shown() + "/" + name);
}

ModelSummary model_of(const Bundle &bundle) {
    const Manifest &manifest = bundle.manifest();
    ModelSummary model{manifest.name, std::nullopt, bundle.sha256(), device_uid(bundle.sha256()), std::nullopt};
    if (!manifest.version.empty()) model.version = manifest.version;
    // Whoever names the key does not name its owner.
    if (bundle.origin().verified) model.signed_by = SignedBy{bundle.origin().key, bundle.origin().key};
    return model;
}

EngineSummary engine_of(const Opening &opening) {
    EngineSummary engine{"openvino", opening.precision, "CPU", "openvino", opening.runtime_version, processor().name,
                         opening.threads, {}, opening.fallback, std::nullopt};
    for (const auto &[name, layers] : opening.kernels) engine.kernels.emplace_back(name, layers);
    if (opening.accuracy) {
        const PrecisionCost &cost = *opening.accuracy;
        engine.accuracy = AccuracySummary{cost.cohort, cost.studies, cost.max_probability_difference, cost.flips,
                                          cost.auroc_difference};
    }
    return engine;
}

Json axes_of(const TensorSpec &spec) {
    Json::List axes;
    for (const int64_t axis : spec.shape) {
        axes.push_back(axis == kBatchAxis ? Json("N") : axis == kLengthAxis ? Json("L") : Json(axis));
    }
    return axes;
}

Json tensors_of(const std::vector<TensorSpec> &specs) {
    Json::List found;
    for (const TensorSpec &spec : specs) {
        found.push_back(Json::Object{{"name", spec.name}, {"kind", spec.kind}, {"dtype", spec.dtype}, {"shape", axes_of(spec)}});
    }
    return found;
}

std::string described(const Bundle &bundle, const Opening &opening) {
    const Manifest &manifest = bundle.manifest();
    Json::List labels;
    for (const std::string &label : manifest.labels) labels.push_back(label);
    Json::Object kernels;
    for (const auto &[name, layers] : opening.kernels) kernels.emplace_back(name, layers);
    const Json::Object engine{
        {"backend", "openvino"},      {"precision", opening.precision},
        {"device", "CPU"},            {"runtime_version", opening.runtime_version},
        {"threads", opening.threads}, {"kernels", kernels},
        {"fallback", opening.fallback ? Json(*opening.fallback) : Json()},
        {"cache_hit", opening.cache_hit}, {"cache", opening.cache}};
    const Json::Object self_test{{"passed", opening.self_test.passed()},
                                 {"max_abs_error", opening.self_test.max_abs_error()},
                                 {"tolerance", opening.self_test.tolerance},
                                 {"cases", opening.self_test.cases},
                                 {"remembered", opening.self_test.remembered}};
    return print_json(Json::Object{{"name", manifest.name},
                                   {"version", manifest.version.empty() ? Json() : Json(manifest.version)},
                                   {"sha256", bundle.sha256()},
                                   {"signed_by", bundle.origin().verified ? Json(bundle.origin().key) : Json()},
                                   {"demonstration", manifest.demonstration},
                                   {"inputs", tensors_of(manifest.inputs)},
                                   {"outputs", tensors_of(manifest.outputs)},
                                   {"labels", labels},
                                   {"engine", engine},
                                   {"self_test", self_test}});
}

// Handles count up from an odd start: nothing that malloc gives is one of them.
struct Handles {
    std::mutex mutex;
    std::map<uintptr_t, std::shared_ptr<OpenNetwork>> open;
    uintptr_t next = 1;
};

constexpr std::chrono::milliseconds POLL{50};  // between looks at the deadline of a call that waits for its turn

// The networks that this thread is inside of, which a callback can be called from.
thread_local std::vector<const OpenNetwork *> within;

bool is_within(const OpenNetwork &network) { return std::find(within.begin(), within.end(), &network) != within.end(); }

Handles &handles() {
    static Handles *const all = new Handles;  // Never destroyed: a caller may free a network while the process ends.
    return *all;
}

}  // namespace

OpenNetwork::OpenNetwork(const std::string &bundle, const Opened &given)
    : bundle_(bundle, given.trusted_key), vocabulary_(vocabulary_of(bundle_)) {
    const Limited limited(&given.limits);
    report("open", 0, 1);
    runner_ = std::make_unique<Runner>(bundle_, given.runner);
    const Opening &opening = runner_->opening();
    Texts warnings;
    if (opening.fallback) warnings.push_back("openvino answered instead of a preferred backend: " + *opening.fallback + ".");
    answerer_ = std::make_unique<Answerer>(
        bundle_.manifest(), AnsweringFacts{model_of(bundle_), engine_of(opening), bundle_.origin().remarks(), warnings},
        [this](const std::vector<Tensor> &inputs, bool optional) { return runner_->infer(inputs, optional); });
    check_raw_case(given.runner);
    json_ = described(bundle_, opening);
    report("open", 1, 1);
}

// The stored cases of the self-test begin at the network's inputs; this one begins at a study and a record. Its preparation,
// which an edited manifest changes, is compared each time; its answer where no pass of this very engine is remembered.
void OpenNetwork::check_raw_case(const RunnerOptions &options) {
    const Golden golden(bundle_.read(GOLDEN_NAME, MOST_GOLDEN_BYTES), bundle_.shown());
    const Opening &opening = runner_->opening();
    const std::optional<RawCase> raw = mmcaf::check_raw_case(bundle_.manifest(), golden, opening.precision,
                                                             vocabulary_ ? &*vocabulary_ : nullptr);
    if (!raw) return;
    const double tolerance = tolerance_of(opening.precision);
    const Path stamp = opening.stamp.empty() ? Path() : raw_case_stamp_of(opening.stamp);
    if (!stamp.empty() && remembered(stamp, tolerance)) return;
    const double error = error_of(*raw);
    if (!(error <= tolerance)) {
        throw Error(MMCAF_BACKEND,
                    "The raw case of " + bundle_.manifest().name + " is answered wrongly in " + opening.precision +
                        ": its probability is off by " + general(error) + "; at most " + general(tolerance) + " is allowed.",
                    {{"Use another one", "precision", "", ""}});
    }
    if (stamp.empty()) return;
    try {
        const SelfTest passed{{{"probability", error}}, tolerance, 1, false};
        remember(stamp, passed, {bundle_.sha256(), bundle_.manifest().name, {}, opening.precision, {}, opening.threads});
    } catch (const std::system_error &failure) {
        if (!options.log) return;
        options.log(LOG_WARNING, "The raw case cannot be remembered and will be answered each time. " +
                                     std::string(failure.what()));
    }
}

// Largest |difference| of a label's probability from the stored one; infinite where they cannot be compared.
double OpenNetwork::error_of(const RawCase &raw) const {
    Stopwatch watch;
    const Result result = answerer_->answer(raw.prepared, {}, watch);
    if (result.probabilities.size() != raw.probabilities.size()) return std::numeric_limits<double>::infinity();
    double worst = 0;
    for (size_t at = 0; at < raw.probabilities.size(); ++at) {
        const double difference = std::abs(result.probabilities[at].second - raw.probabilities[at]);
        if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
        worst = std::max(worst, difference);
    }
    return worst;
}

OpenNetwork::Turn::Turn(OpenNetwork &network) : network_(network) {
    if (is_within(network)) {
        throw Error(MMCAF_USAGE, "A callback called the network that called it.",
                    {{"Call it once this answer is there.", "", "", ""}});
    }
    std::unique_lock<std::mutex> lock(network.mutex_);
    while (network.busy_) {
        network.ended_.wait_for(lock, POLL);
        check_cancelled();
    }
    if (network.closed_) throw Error(MMCAF_USAGE, "The network was closed.", {{"Open it again.", "", "", ""}});
    within.push_back(&network);
    network.busy_ = true;
}

OpenNetwork::Turn::~Turn() {
    within.pop_back();
    {
        const std::lock_guard<std::mutex> lock(network_.mutex_);
        network_.busy_ = false;
    }
    network_.ended_.notify_all();
}

void OpenNetwork::close() {
    std::unique_lock<std::mutex> lock(mutex_);
    closed_ = true;
    if (!is_within(*this)) ended_.wait(lock, [this] { return !busy_; });
}

template <class Prepare> Result OpenNetwork::answered(const Answering &given, const Prepare &prepare) {
    const Limited limited(&given.limits);
    const Turn turn(*this);
    Stopwatch watch;
    const Prepared prepared = [&] {
        const auto span = watch.span("preprocess");
        return prepare();
    }();
    return answerer_->answer(prepared, given.given, watch);
}

Result OpenNetwork::answer(std::vector<Volume> volumes, const std::optional<std::string> &record, const Answering &given) {
    // Of several series the options cannot say which of them it is that the images are of.
    if (volumes.size() > 1 && !(given.instances.empty() && given.series_uid.empty())) {
        throw Error(MMCAF_USAGE, "instances and series_uid are of one series; this network reads " +
                                     std::to_string(volumes.size()) + ".",
                    {{"Leave them out", "instances", "", ""}});
    }
    if (volumes.size() == 1) {
        volumes.front().images = given.instances;
        volumes.front().series_uid = given.series_uid;
    }
    return answered(given, [&] {
        return prepare_volumes(volumes, record, given.tokens, bundle_.manifest(), vocabulary_ ? &*vocabulary_ : nullptr,
                               given.header, given.asked);
    });
}

Result OpenNetwork::answer_image(const Plane &plane, const std::optional<std::string> &record, const Answering &given) {
    return answered(given, [&] {
        return prepare_image(plane, record, given.tokens, bundle_.manifest(), vocabulary_ ? &*vocabulary_ : nullptr, given.header,
                             given.asked);
    });
}

std::vector<Tensor> OpenNetwork::run(const std::vector<Tensor> &inputs) {
    const Limited limited(nullptr);  // not those of a call of another network, whose callback this may be
    const Turn turn(*this);
    return runner_->infer(inputs, true);
}

mmcaf_network *add_network(std::shared_ptr<OpenNetwork> network) {
    Handles &all = handles();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const uintptr_t handle = all.next;
    all.open.emplace(handle, std::move(network));
    all.next += 2;
    return reinterpret_cast<mmcaf_network *>(handle);
}

std::shared_ptr<OpenNetwork> network_of(const mmcaf_network *handle) {
    require(handle, "network");
    Handles &all = handles();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.open.find(reinterpret_cast<uintptr_t>(handle));
    if (found == all.open.end()) {
        throw Error(MMCAF_USAGE, "This network is not open: it was freed, or never was one.", {{"Open it again.", "", "", ""}});
    }
    return found->second;
}

std::shared_ptr<OpenNetwork> remove_network(const mmcaf_network *handle) {
    Handles &all = handles();
    const std::lock_guard<std::mutex> lock(all.mutex);
    const auto found = all.open.find(reinterpret_cast<uintptr_t>(handle));
    if (found == all.open.end()) return nullptr;
    std::shared_ptr<OpenNetwork> network = std::move(found->second);
    all.open.erase(found);
    return network;
}

}  // namespace mmcaf
