// A bundle that is open, with all that is per bundle: what stands behind mmcaf_network.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "given.hpp"
#include "raw_case.hpp"

namespace mmcaf {

class OpenNetwork {
   public:
    // Throws Error: as Bundle and Runner.
    OpenNetwork(const std::string &bundle, const Opened &given);

    // What was opened, as JSON.
    const std::string &json() const { return json_; }

    // Each answers one after another, and throws Error: as prepare_volumes, prepare_image, Runner and Answerer; MMCAF_USAGE:
    // the network was closed by now.
    Result answer(std::vector<Volume> volumes, const std::optional<std::string> &record, const Answering &given);
    Result answer_image(const Plane &plane, const std::optional<std::string> &record, const Answering &given);
    std::vector<Tensor> run(const std::vector<Tensor> &inputs);

    // Waits for who is inside, but for this very thread; whoever comes later is refused.
    void close();

   private:
    void check_raw_case(const RunnerOptions &options);
    double error_of(const RawCase &raw) const;
    template <class Prepare> Result answered(const Answering &given, const Prepare &prepare);

    // While it lives, this thread alone is inside. It waits for who is, within the limits of this thread.
    // Throws Error MMCAF_USAGE: the network was closed, or called this thread back; MMCAF_DEADLINE.
    class Turn {
       public:
        explicit Turn(OpenNetwork &network);
        ~Turn();
        Turn(const Turn &) = delete;
        Turn &operator=(const Turn &) = delete;

       private:
        OpenNetwork &network_;
    };


    const Bundle bundle_;
    const std::optional<Vocabulary> vocabulary_;
    std::unique_ptr<Runner> runner_;
    std::unique_ptr<Answerer> answerer_;
    std::string json_;
    std::mutex mutex_;  // of the two below
    std::condition_variable ended_;
    bool busy_ = false, closed_ = false;
};

// The handle of a network: never the address of anything, and never given again, so that a closed one is known to be.
mmcaf_network *add_network(std::shared_ptr<OpenNetwork> network);

// Throws Error MMCAF_USAGE: NULL, or no handle of a network that is open.
std::shared_ptr<OpenNetwork> network_of(const mmcaf_network *handle);

// Nothing where there is none.
std::shared_ptr<OpenNetwork> remove_network(const mmcaf_network *handle);

}  // namespace mmcaf
