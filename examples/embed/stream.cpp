// Answers a study whose slices arrive one by one, as from a reconstruction: here they are read from a file while the library
// asks for them, and only one of them is in this program's memory.
//
//     stream BUNDLE STUDY.raw SLICES ROWS COLUMNS BETWEEN DOWN ACROSS RECORD.json
//
// The arguments are those of answer.c; progress goes to stderr.

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "mmcaf.hpp"

namespace {

std::string text_of(const char *path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(std::string(path) + ": cannot be read");
    return {std::istreambuf_iterator<char>(file), {}};
}

int show_progress(void *, const char *stage, size_t done, size_t total) {
    std::cerr << stage << " " << done << " of " << total << "\n";
    return 0;  // go on
}

void answer(char **given) {
    mmcaf_volume series = mmcaf::volume(static_cast<const int16_t *>(nullptr),
                                        {std::stoul(given[3]), std::stoul(given[4]), std::stoul(given[5])},
                                        {std::stod(given[6]), std::stod(given[7]), std::stod(given[8])});
    std::ifstream slices(given[2], std::ios::binary);
    const auto bytes = static_cast<std::streamsize>(2 * series.shape[1] * series.shape[2]);
    const auto next = [&](size_t index, void *slice) {
        if (!slices.read(static_cast<char *>(slice), bytes)) {
            throw std::runtime_error(std::string(given[2]) + ": ends before slice " + std::to_string(index + 1));
        }
        return true;
    };
    mmcaf::Network network(given[1]);
    mmcaf_answer_options options = mmcaf::answer_options();
    options.progress = show_progress;
    std::cout << network.answer_series(series, next, text_of(given[9]), options).json() << "\n";
}

}  // namespace

int main(int count, char **given) {
    if (count != 10) {
        std::cerr << "usage: stream BUNDLE STUDY.raw SLICES ROWS COLUMNS BETWEEN DOWN ACROSS RECORD.json\n";
        return MMCAF_USAGE;
    }
    try {
        answer(given);
        return MMCAF_OK;
    } catch (const mmcaf::Error &refused) {
        std::cerr << refused.kind() << ": " << refused.what() << "\n";
        return refused.code();
    } catch (const std::exception &failed) {
        std::cerr << failed.what() << "\n";
        return MMCAF_USAGE;
    }
}
