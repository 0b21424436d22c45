// libmmcaf for C++17: the functions of mmcaf.h with owners that free, and exceptions instead of codes.
//
//     mmcaf::Network network("lung.mmcaf");
//     mmcaf::Result result = network.answer(mmcaf::volume(hu, {slices, rows, columns}, {2.5, 0.7, 0.7}), record);
//     std::cout << result.decision() << " " << result.json() << "\n";
//
// Structs, ownership and the thread rule are those of mmcaf.h. All of it is inline: a program links libmmcaf alone.

#ifndef MMCAF_HPP
#define MMCAF_HPP

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "mmcaf.h"

namespace mmcaf {

inline std::string text(const char *given) { return given ? given : ""; }

// What the library refused, and what to do next. what() is the problem with its remedies.
class Error : public std::runtime_error {
public:
    // The last failed call of this thread.
    explicit Error(mmcaf_code code) : Error(code, *mmcaf_last_error()) {}

    mmcaf_code code() const noexcept { return code_; }  // the exit code that the command line would have
    const std::string &kind() const noexcept { return kind_; }
    const std::string &problem() const noexcept { return problem_; }
    const std::string &remedy() const noexcept { return remedy_; }  // empty where nothing helps
    const std::string &json() const noexcept { return json_; }      // all of it, with every remedy

private:
    Error(mmcaf_code code, const mmcaf_error &error)
        : std::runtime_error(text(error.problem) + (text(error.remedy).empty() ? "" : " " + text(error.remedy))),
          code_(code), kind_(text(error.kind)), problem_(text(error.problem)), remedy_(text(error.remedy)),
          json_(text(error.json)) {}

    mmcaf_code code_;
    std::string kind_, problem_, remedy_, json_;
};

inline void check(mmcaf_code code) {
    if (code != MMCAF_OK) throw Error(code);
}

inline mmcaf_open_options open_options() {
    mmcaf_open_options options;
    mmcaf_open_options_default(&options);
    return options;
}

inline mmcaf_answer_options answer_options() {
    mmcaf_answer_options options;
    mmcaf_answer_options_default(&options);
    return options;
}

// Slices, rows and columns, and what lies between two of each in mm. Slices run toward the head, rows to the back, columns
// to the left, unless `direction` is set to something else. The values stay the caller's.
inline mmcaf_volume volume(const void *values, mmcaf_type type, const std::array<size_t, 3> &shape,
                           const std::array<double, 3> &spacing_mm) {
    mmcaf_volume made;
    mmcaf_volume_default(&made);
    made.values = values;
    made.type = type;
    for (size_t axis = 0; axis < 3; ++axis) {
        made.shape[axis] = shape[axis];
        made.spacing_mm[axis] = spacing_mm[axis];
    }
    return made;
}

// Of values in Hounsfield units.
inline mmcaf_volume volume(const int16_t *values, const std::array<size_t, 3> &shape,
                           const std::array<double, 3> &spacing_mm) {
    return volume(values, MMCAF_INT16, shape, spacing_mm);
}

inline mmcaf_volume volume(const float *values, const std::array<size_t, 3> &shape,
                           const std::array<double, 3> &spacing_mm) {
    return volume(values, MMCAF_FLOAT32, shape, spacing_mm);
}

class Result {
public:
    size_t label_count() const { return mmcaf_result_label_count(result_.get()); }
    std::string label(size_t index) const { return text(mmcaf_result_label(result_.get(), index)); }
    double probability(size_t index) const { return mmcaf_result_probability(result_.get(), index); }

    // The label decided for; empty of a network whose labels are independent.
    std::string decision() const { return text(mmcaf_result_decision(result_.get())); }

    // As `mmcaf-infer --json` prints it.
    std::string json() const { return text(mmcaf_result_json(result_.get())); }

    std::vector<std::string> warnings() const {
        std::vector<std::string> found;
        for (size_t index = 0; index < mmcaf_result_warning_count(result_.get()); ++index) {
            found.push_back(text(mmcaf_result_warning(result_.get(), index)));
        }
        return found;
    }

    const mmcaf_result *get() const noexcept { return result_.get(); }

private:
    friend class Network;
    struct Free {
        void operator()(mmcaf_result *result) const noexcept { mmcaf_free_result(result); }
    };

    explicit Result(mmcaf_result *result) : result_(result) {}

    std::unique_ptr<mmcaf_result, Free> result_;
};

// What a network put out; `data` and `shape` of each live as long as this.
class Outputs {
public:
    size_t size() const { return mmcaf_tensor_count(outputs_.get()); }
    const mmcaf_tensor &operator[](size_t index) const { return *mmcaf_tensor_at(outputs_.get(), index); }

private:
    friend class Network;
    struct Free {
        void operator()(mmcaf_tensor_list *outputs) const noexcept { mmcaf_free_tensors(outputs); }
    };

    explicit Outputs(mmcaf_tensor_list *outputs) : outputs_(outputs) {}

    std::unique_ptr<mmcaf_tensor_list, Free> outputs_;
};

// A bundle that is open. Several threads may use it at once: their answers are made one after another.
class Network {
public:
    explicit Network(const std::string &bundle, const mmcaf_open_options &options = open_options()) {
        mmcaf_network *opened = nullptr;
        check(mmcaf_open(bundle.c_str(), &options, &opened));
        network_.reset(opened);
    }

    // What was opened, as JSON: name, version, inputs, outputs, labels, engine, self-test.
    std::string json() const { return text(mmcaf_network_json(network_.get())); }

    // record_json: empty of a network that takes no record; so for all that follow.
    Result answer(const mmcaf_volume &volume, const std::string &record_json,
                  const mmcaf_answer_options &options = answer_options()) {
        return answered([&](mmcaf_result **made) {
            return mmcaf_answer_volume(network_.get(), &volume, record_of(record_json), &options, made);
        });
    }

    // Of a network that reads several series: each volume names its input.
    Result answer(const std::vector<mmcaf_volume> &volumes, const std::string &record_json,
                  const mmcaf_answer_options &options = answer_options()) {
        return answered([&](mmcaf_result **made) {
            return mmcaf_answer_volumes(network_.get(), volumes.data(), volumes.size(), record_of(record_json), &options,
                                        made);
        });
    }

    // Slices as they arrive: `next` fills one [rows, columns] of the volume's type, and says whether to go on. What it
    // throws ends the answer, and is thrown from here.
    Result answer_series(const mmcaf_volume &series, const std::function<bool(size_t index, void *slice)> &next,
                         const std::string &record_json, const mmcaf_answer_options &options = answer_options()) {
        Slices slices{next, nullptr};
        mmcaf_result *made = nullptr;
        const mmcaf_code code = mmcaf_answer_series(network_.get(), &series, &Slices::fill, &slices,
                                                    record_of(record_json), &options, &made);
        if (slices.thrown) {
            mmcaf_free_result(made);
            std::rethrow_exception(slices.thrown);
        }
        check(code);
        return Result(made);
    }

    // Of a network of 2D images: a grey plane.
    Result answer_image(const float *plane, size_t rows, size_t columns, const std::string &record_json,
                        const mmcaf_answer_options &options = answer_options()) {
        return answered([&](mmcaf_result **made) {
            return mmcaf_answer_image(network_.get(), plane, rows, columns, record_of(record_json), &options,
                                      made);
        });
    }

    // The network on inputs that are prepared already.
    Outputs run(const std::vector<mmcaf_tensor> &inputs) {
        mmcaf_tensor_list *outputs = nullptr;
        check(mmcaf_run(network_.get(), inputs.data(), inputs.size(), &outputs));
        return Outputs(outputs);
    }

    mmcaf_network *get() const noexcept { return network_.get(); }

private:
    struct Free {
        void operator()(mmcaf_network *network) const noexcept { mmcaf_free_network(network); }
    };

    // No exception may pass through the library: it is kept until the call has returned.
    struct Slices {
        const std::function<bool(size_t, void *)> &next;
        std::exception_ptr thrown;

        static int fill(void *user, size_t index, void *slice) {
            auto &self = *static_cast<Slices *>(user);
            try {
                return self.next(index, slice) ? 0 : 1;
            } catch (...) {
                self.thrown = std::current_exception();
                return 1;
            }
        }
    };

    static const char *record_of(const std::string &json) { return json.empty() ? nullptr : json.c_str(); }

    template <class Call>
    static Result answered(const Call &call) {
        mmcaf_result *made = nullptr;
        check(call(&made));
        return Result(made);
    }

    std::unique_ptr<mmcaf_network, Free> network_;
};

}  // namespace mmcaf

#endif
