// One bundle's network, opened in OpenVINO on this processor at one precision, and self-tested: what a session is to the
// Python engine, with which it shares kept engines and remembered self-tests.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "accuracy.hpp"
#include "bundle.hpp"
#include "manifest.hpp"
#include "self_test.hpp"
#include "tensor.hpp"

namespace mmcaf {

struct RunnerOptions {
    std::string precision = "auto";
    int threads = 0;                     // 0: all cores that this process may use
    std::optional<std::string> cache;    // the folder above kept engines; "" for none, without one the user's
    std::optional<std::string> kernels;  // as Kernels::load
    bool require_kept_engine = false;
    std::function<void(int level, const std::string &message)> log;
};

constexpr int LOG_WARNING = 30, LOG_INFO = 20;  // of Python's logging

// How the network was opened, and what runs it.
struct Opening {
    std::string precision, runtime_version;
    int threads = 0;
    std::vector<std::pair<std::string, int>> kernels;  // by how many layers each is
    std::optional<std::string> fallback;               // why a preferred precision or this project's kernels are not used
    bool cache_hit = false;
    std::string cache;  // what became of the kept engine, in words
    SelfTest self_test;
    Path stamp;  // that remembers the self-test of this kept engine; empty where none is kept
    std::optional<PrecisionCost> accuracy;  // what the bundle says that the precision costs
};

// Safe to call from several threads: answers take turns, since each uses all the cores it was given.
class Runner {
   public:
    // Throws Error(MMCAF_BACKEND): the precision is not in the bundle, or was not judged as it runs here; the runtime
    // refuses the network; it fails the self-test; or none is kept where one is required. Error(MMCAF_BUNDLE): a file of
    // the bundle is damaged. Error(MMCAF_USAGE): wrong options, or settings of the environment.
    Runner(const Bundle &bundle, const RunnerOptions &options);
    ~Runner();

    // The outputs of a window, or of several, in the manifest's order; with `optional` also those that the manifest calls so. The same
    // inputs give the same bits, for any number of threads.
    // Throws Error(MMCAF_USAGE): an input is missing, unknown, or of the wrong shape or type, or holds NaN or infinity.
    // Error(MMCAF_BACKEND): the runtime failed. Error(MMCAF_DEADLINE): as check_cancelled.
    std::vector<Tensor> infer(const std::vector<Tensor> &inputs, bool optional = false);

    const Opening &opening() const;

   private:
    class Open;
    std::unique_ptr<Open> open_;
};

}  // namespace mmcaf
