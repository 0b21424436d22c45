// Which configurations of a precision may answer, and which files a model reads.

#include <optional>
#include <set>

#include "accuracy.hpp"
#include "external_data.hpp"
#include "json.hpp"
#include "texts.hpp"

// Bundle's name, precision, accuracy.json and the kernels as a list or null -> why it may not answer, or nothing.
MMCAF_TESTING_API char *mmcaf_testing_unjudged(const char *bundle, const char *precision, const char *accuracy,
                                               const char *kernels) {
    return mmcaf::answered([&] {
        const auto costs = mmcaf::parse_accuracy(accuracy, "accuracy.json");
        const mmcaf::Json given = mmcaf::parse_json(kernels, "kernels", MMCAF_USAGE);
        std::optional<std::set<std::string>> used;
        if (given.is(mmcaf::Json::Kind::list)) used.emplace();
        for (const mmcaf::Json &kernel : given.list()) used->insert(kernel.text());
        return mmcaf::unjudged(bundle, precision, mmcaf::find(costs, precision), used).value_or("");
    });
}

// accuracy.json and precision -> what a result says of it.
MMCAF_TESTING_API char *mmcaf_testing_cost(const char *accuracy, const char *precision) {
    return mmcaf::answered([&] {
        const auto costs = mmcaf::parse_accuracy(accuracy, "accuracy.json");
        const mmcaf::PrecisionCost *cost = mmcaf::find(costs, precision);
        if (cost == nullptr) return std::string("null");
        const auto auroc = cost->auroc_difference ? mmcaf::Json(*cost->auroc_difference) : mmcaf::Json();
        return mmcaf::print_json(mmcaf::Json::Object{{"cohort", cost->cohort},
                                                     {"studies", cost->studies},
                                                     {"max_probability_difference", cost->max_probability_difference},
                                                     {"flips", cost->flips},
                                                     {"auroc_difference", auroc}});
    });
}

// A model in hexadecimal digits -> where its tensors say that their values lie, or "refused".
MMCAF_TESTING_API char *mmcaf_testing_locations(const char *digits) {
    return mmcaf::answered([&] {
        std::string model;
        for (const std::string_view text(digits); model.size() * 2 < text.size();) {
            model += static_cast<char>(std::stoi(std::string(text.substr(model.size() * 2, 2)), nullptr, 16));
        }
        try {
            const auto found = mmcaf::external_locations(reinterpret_cast<const uint8_t *>(model.data()), model.size());
            mmcaf::Json::List listed;
            for (const std::string &location : found) {
                mmcaf::Json::List bytes;
                for (const char one : location) bytes.emplace_back(static_cast<int>(static_cast<uint8_t>(one)));
                listed.emplace_back(std::move(bytes));
            }
            return mmcaf::print_json(listed);
        } catch (const std::invalid_argument &) {
            return std::string("refused");
        }
    });
}
