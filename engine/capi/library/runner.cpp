#include "runner.hpp"

#include <algorithm>
#include <mutex>
#include <set>
#include <stdexcept>
#include <system_error>

#include "engine_cache.hpp"
#include "error.hpp"
#include "kernels.hpp"
#include "model.hpp"
#include "network.hpp"
#include "placement.hpp"
#include "processor.hpp"
#include "settings.hpp"

namespace mmcaf {
namespace {

const std::vector<std::string> PRECISIONS = {"fp32", "fp16", "bf16", "int8", "int8-bf16"};
const char *const ACCURACY_NAME = "accuracy.json", *const ENGINES = "engines", *const SELF_TESTS = "self-tests";
constexpr uint64_t MAX_GOLDEN_BYTES = uint64_t{1} << 30, MAX_PLACEMENT_BYTES = uint64_t{1} << 28;
const Remedy ANY_PRECISION{"Let the precision be chosen", "precision", "auto", ""};
const Remedy SEE_WHAT_RUNS{"See what this machine can run", "", "", "mmcaf doctor"};

std::string joined(const std::vector<std::string> &texts) {
    std::string all;
    for (const std::string &text : texts) all += (all.empty() ? "" : ", ") + text;
    return all;
}

std::vector<std::string> keys(const Named<std::string> &entries) {
    std::vector<std::string> found;
    for (const auto &[key, value] : entries) found.push_back(key);
    return found;
}

// The precision that is asked for, which the bundle holds; FP32 for "auto".
std::string held(const Manifest &manifest, const std::string &asked) {
    const std::string wanted = asked == "auto" ? "fp32" : asked;
    if (std::find(PRECISIONS.begin(), PRECISIONS.end(), wanted) == PRECISIONS.end()) {
        throw Error(MMCAF_USAGE, "Unknown precision '" + wanted.substr(0, 40) + "'.",
                    {Remedy{"Choose among: " + joined(PRECISIONS) + ".", "", "", ""}});
    }
    if (find(manifest.models, wanted) != nullptr) return wanted;
    throw Error(MMCAF_BACKEND,
                manifest.name + " holds no " + wanted + " network; it holds " + joined(keys(manifest.models)) + ".",
                {ANY_PRECISION});
}

int thread_count(int asked) {
    if (asked < 0) throw Error(MMCAF_USAGE, std::to_string(asked) + " threads; at least 1 is needed, or 0 for all cores.");
    return asked == 0 ? usable_cores() : asked;
}

Error refused(const std::string &precision, const std::string &why) {
    return Error(MMCAF_BACKEND, "Backend openvino does not answer in " + precision + " here: " + why + ".",
                 {Remedy{"Answer in FP32", "precision", "fp32", ""},
                  Remedy{"Or have it judged as it runs here", "", "", "mmcaf quantize BUNDLE --precision " + precision},
                  SEE_WHAT_RUNS});
}

Json shapes(const std::vector<TensorSpec> &specs) {
    Json::List listed;
    for (const TensorSpec &spec : specs) {
        Json::List one{spec.name};
        for (size_t axis = 1; axis < spec.shape.size(); ++axis) {
            one.push_back(spec.shape[axis] == kLengthAxis ? Json("L") : Json(spec.shape[axis]));
        }
        listed.emplace_back(std::move(one));
    }
    return listed;
}

// All that an engine depends on, as engine_facts of mmcaf_engine/session/opening.py has it.
Json engine_facts(const NetworkSpecs &specs, const Manifest &manifest, const std::string &kernels) {
    Json::List hashes, instructions;
    for (const std::string &file : model_files(manifest, specs.precision)) {
        hashes.emplace_back(find(manifest.files, file)->sha256);
    }
    for (const std::string &instruction : processor().instructions) instructions.emplace_back(instruction);
    Json::Object facts{{"runtime", "openvino"},
                       {"build", openvino_build()},
                       {"device", "CPU"},
                       {"precision", specs.precision},
                       {"threads", specs.threads},
                       {"inputs", shapes(specs.inputs)},
                       {"outputs", shapes(specs.outputs)},
                       {"configuration", Json::Object{{"INFERENCE_PRECISION_HINT", hint_of(specs.precision)},
                                                      {"PERFORMANCE_HINT", "LATENCY"},
                                                      {"INFERENCE_NUM_THREADS", specs.threads},
                                                      {"NUM_STREAMS", 1}}},
                       {"kernels", kernels},
                       {"model", std::move(hashes)},
                       {"system", Json::List{operating_system().name, operating_system().machine}},
                       {"processor", processor().name},
                       {"instructions", std::move(instructions)}};
    if (!specs.lengths.empty()) {
        facts.emplace_back("lengths", Json::List(specs.lengths.begin(), specs.lengths.end()));
    }
    return facts;
}

}  // namespace

// The network while it is open. Members are made in this order, and `opening` says what came of each step.
class Runner::Open {
   public:
    Open(const Bundle &bundle, const RunnerOptions &options)
        : bundle_(bundle),
          options_(options),
          specs_(NetworkSpecs::of(bundle.manifest(), held(bundle.manifest(), options.precision),
                                  thread_count(options.threads))),
          kernels_(Kernels::load(options.kernels)),
          network_(specs_, kernels_) {
        opening.precision = specs_.precision;
        opening.threads = specs_.threads;
        opening.runtime_version = openvino_release();
        expect_offered();
        prepare_cache();
        if (!load(kernels_.fingerprint())) build();
        expect_judged();
    }

    std::vector<Tensor> infer(const std::vector<Tensor> &inputs, bool optional) {
        const std::vector<const Tensor *> checked = checked_inputs(inputs, specs_);
        const int64_t windows = checked.front()->shape[0];
        const std::lock_guard<std::mutex> turn(turn_);
        if (windows == 1) return network_.infer(inputs, optional);
        std::vector<Tensor> answers;
        for (int64_t at = 0; at < windows; ++at) append(answers, network_.infer(window_of(checked, at), optional));
        return answers;
    }

    Opening opening;

   private:
    const PrecisionCost *cost() {
        if (specs_.precision == "fp32" || !bundle_.has(ACCURACY_NAME)) return nullptr;
        if (accuracy_.empty()) {
            const std::vector<uint8_t> data = bundle_.read(ACCURACY_NAME, MAX_JSON_BYTES);
            const std::string_view text(reinterpret_cast<const char *>(data.data()), data.size());
            accuracy_ = parse_accuracy(text, bundle_.shown() + "/" + ACCURACY_NAME);
        }
        return find(accuracy_, specs_.precision);
    }

    void expect_offered() {
        const bool half = specs_.precision == "bf16" || specs_.precision == "int8-bf16";
        const std::string units = half ? "BF16" : specs_.precision == "fp16" ? "FP16" : "";
        if (!units.empty() && !network_.has_units(units)) {
            throw Error(MMCAF_BACKEND,
                        "Backend openvino does not run " + specs_.precision + " here: this processor has no " + units +
                            " units, so " + units + " would be slower than FP32.",
                        {ANY_PRECISION, SEE_WHAT_RUNS});
        }
        if (const PrecisionCost *known = cost()) opening.accuracy = *known;
        const auto why = unjudged(bundle_.manifest().name, specs_.precision, cost(), std::nullopt);
        if (why) throw refused(specs_.precision, *why);
    }

    void expect_judged() {
        std::set<std::string> used;
        for (const auto &[name, layers] : opening.kernels) used.insert(name);
        const auto why = unjudged(bundle_.manifest().name, specs_.precision, cost(), used);
        if (why) throw refused(specs_.precision, *why);
    }

    void prepare_cache() {
        if (options_.cache && options_.cache->empty()) {
            opening.cache = "not kept, as was asked for";
            return;
        }
        const uint64_t limit = cache_limit();
        if (limit == 0) {
            opening.cache = "switched off: $MMCAF_CACHE_LIMIT is 0";
            return;
        }
        const std::optional<Path> root = options_.cache ? Path(*options_.cache) : default_cache();
        if (!root) return keep_nothing("Nothing can be kept between runs: this user has no home folder.");
        try {
            cache_.emplace(*root / ENGINES, limit);
            stamps_ = *root / SELF_TESTS;
            make_private(stamps_);
        } catch (const Error &failure) {
            keep_nothing(failure.problem);
        }
    }

    void keep_nothing(const std::string &why) {
        cache_.reset();
        warn("The engine cannot be kept and will be built each time. " + why);
        opening.cache = "built, not kept: " + why;
    }

    // Loads the engine that is kept for these kernels, if there is one; what is damaged is removed.
    bool load(const std::string &kernels) {
        if (!cache_) return false;
        const Json facts = engine_facts(specs_, bundle_.manifest(), kernels);
        try {
            const std::optional<KeptEngine> engine = cache_->load(facts);
            if (!engine) return false;
            network_.load(*engine);
            opening.kernels = engine->kernels ? *engine->kernels : network_.kernels();
            ensure_self_test(engine->sha256, false);
        } catch (const Error &failure) {
            if (failure.code != MMCAF_BACKEND) throw;
            network_.close();
            opening.stamp.clear();
            said_ = "built again (" + failure.problem + ")";
            warn(failure.problem + " It is built again.");
            if (!cache_->remove(facts)) {
                warn("The unusable engine cannot be removed from " + cache_->folder().string() + ".");
                cache_.reset();
                opening.cache = said_ + ", not kept: the old one is in the way";
            }
            return false;
        }
        opening.cache_hit = true;
        opening.cache = "loaded";
        return true;
    }

    void build() {
        if (kernels_.present()) {
            if (place()) return finish(engine_facts(specs_, bundle_.manifest(), kernels_.fingerprint()));
            if (load("none")) return;
        }
        expect_may_build();
        network_.build([this](ov::Core &core) { return read_model(core, bundle_, specs_.precision); }, [](ov::Model &) {});
        finish(engine_facts(specs_, bundle_.manifest(), "none"));
    }

    void expect_may_build() const {
        if (!options_.require_kept_engine) return;
        throw Error(MMCAF_BACKEND,
                    "No engine of " + bundle_.manifest().name + " in " + specs_.precision + " for " +
                        std::to_string(specs_.threads) + " threads is kept on this machine, and one is required.",
                    {Remedy{"Have one built and kept", "", "",
                            "mmcaf verify " + bundle_.shown() + " --backend openvino"},
                     Remedy{"Or let it be built here", "require_kept_engine", "", ""}});
    }

    // Builds with this project's kernels, where the bundle says where they go; false where that cannot be done.
    bool place() {
        const std::string model = specs_.model, file = model + PLACEMENT_ENDING;
        if (!bundle_.has(file)) return leave_kernels_out("the bundle does not say where they go");
        if (options_.require_kept_engine) return leave_kernels_out("none may be built");
        const std::vector<uint8_t> placement = bundle_.read(file, MAX_PLACEMENT_BYTES);
        std::string why;
        const auto put = [&](ov::Model &network) {
            try {
                place_kernels(network, placement, find(bundle_.manifest().files, model)->sha256, kernels_);
            } catch (const std::exception &fault) {
                why = fault.what();
                throw;
            }
        };
        try {
            network_.build([this](ov::Core &core) { return read_model(core, bundle_, specs_.precision); }, put);
        } catch (const Error &) {
            if (why.empty()) throw;
            return leave_kernels_out(file + " cannot be used: " + why);
        }
        return true;
    }

    bool leave_kernels_out(const std::string &why) {
        opening.fallback = "this project's kernels are left out: no engine with them is kept here, and " + why;
        warn(bundle_.manifest().name + ": " + *opening.fallback + ".");
        return false;
    }

    // Keeps what was built, and lets it pass the self-test before it is kept.
    void finish(const Json &facts) {
        const std::string built = said_.empty() ? "built" : said_;
        opening.kernels = network_.kernels();
        if (!cache_) {
            opening.self_test = self_test();
            return;
        }
        std::optional<EngineDraft> draft;
        try {
            // Before the first window is run, which is when a process needs the least memory.
            const auto write = [this](std::ostream &out) { network_.write(out); };
            draft.emplace(cache_->draft(facts, bundle_.manifest().name, opening.kernels, write));
        } catch (const std::exception &failure) {
            opening.cache = built + ", not kept: " + failure.what();
            warn("The engine cannot be kept and will be built each time. " + std::string(failure.what()));
            opening.self_test = self_test();
            return;
        }
        ensure_self_test(draft->sha256, true);
        try {
            cache_->keep(std::move(*draft));
            opening.cache = built + ", kept";
        } catch (const std::system_error &failure) {
            opening.cache = built + ", not kept: " + failure.what();
            warn("The engine cannot be kept and will be built each time. " + std::string(failure.what()));
        }
    }

    void ensure_self_test(const std::string &engine, bool again) {
        const SelfTestFacts facts{bundle_.sha256(), bundle_.manifest().name, openvino_build(),
                                  specs_.precision, engine,                  specs_.threads};
        const Path stamp = stamp_of(stamps_, facts);
        opening.stamp = stamp;
        const auto known = again ? std::nullopt : remembered(stamp, tolerance_of(specs_.precision));
        if (known) {
            opening.self_test = *known;
            return;
        }
        opening.self_test = self_test();
        try {
            remember(stamp, opening.self_test, facts);
        } catch (const std::system_error &failure) {
            warn("The self-test cannot be remembered and will run each time. " + std::string(failure.what()));
        }
    }

    SelfTest self_test() {
        const Golden golden(bundle_.read(GOLDEN_NAME, MAX_GOLDEN_BYTES), bundle_.shown());
        const SelfTest outcome =
            run_cases(bundle_.manifest(), specs_.precision, golden,
                      [this](const std::vector<Tensor> &window) { return network_.infer(window, true); });
        if (outcome.passed()) return outcome;
        throw Error(MMCAF_BACKEND,
                    "openvino " + openvino_release() + " in " + specs_.precision + " fails the self-test of " +
                        bundle_.manifest().name + ": " + outcome.fault() + ". It will not answer.",
                    {Remedy{"Use another precision", "precision", "", ""},
                     Remedy{"Report what this machine has", "", "", "mmcaf doctor"}});
    }

    void warn(const std::string &message) const {
        if (options_.log) options_.log(LOG_WARNING, message);
    }

    static std::vector<Tensor> window_of(const std::vector<const Tensor *> &inputs, int64_t at) {
        std::vector<Tensor> window;
        for (const Tensor *one : inputs) {
            Tensor part{one->name, one->shape, one->whole, {}, {}};
            part.shape[0] = 1;
            const auto cut = [&](const auto &all, auto &into) {
                const auto size = static_cast<std::ptrdiff_t>(all.size()) / one->shape[0];
                into.assign(all.begin() + at * size, all.begin() + (at + 1) * size);
            };
            cut(one->reals, part.reals);
            cut(one->integers, part.integers);
            window.push_back(std::move(part));
        }
        return window;
    }

    static void append(std::vector<Tensor> &answers, std::vector<Tensor> window) {
        if (answers.empty()) {
            answers = std::move(window);
            return;
        }
        for (size_t at = 0; at < answers.size(); ++at) {
            answers[at].shape[0] += 1;
            answers[at].reals.insert(answers[at].reals.end(), window[at].reals.begin(), window[at].reals.end());
        }
    }

    const Bundle &bundle_;
    const RunnerOptions options_;
    const NetworkSpecs specs_;
    const Kernels kernels_;
    Network network_;
    std::optional<EngineCache> cache_;
    Path stamps_;
    Named<PrecisionCost> accuracy_;
    std::string said_;
    std::mutex turn_;
};

Runner::Runner(const Bundle &bundle, const RunnerOptions &options) : open_(std::make_unique<Open>(bundle, options)) {}

Runner::~Runner() = default;

std::vector<Tensor> Runner::infer(const std::vector<Tensor> &inputs, bool optional) { return open_->infer(inputs, optional); }

const Opening &Runner::opening() const { return open_->opening; }

}  // namespace mmcaf
