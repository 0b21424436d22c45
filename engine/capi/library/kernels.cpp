#include "kernels.hpp"

#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <stdexcept>

#include <dlfcn.h>

#include "digest.hpp"
#include "error.hpp"
#include "settings.hpp"

namespace mmcaf {
namespace {

namespace fs = std::filesystem;

const char *const OPERATORS[] = {"GatedLstm", "GatedLstmStates",     "GroupNormAct",     "GroupedConvolution",
                                 "MaxPool",   "MultiScaleDepthwise", "UpsampleDepthwise"};
const std::set<std::string> LEVELS = {"avx2", "avx512", "vnni", "bf16"};
const std::set<std::string> LAYERS = {"gated_lstm", "groupnorm_act", "grouped_convolution", "max_pool", "msdc",
                                      "upsample_dw"};
// What OpenVINO calls a layer that an extension's operator computes.
const char *const OWN_LAYER = "Reference";
const char *const REBUILD = "Install mmcaf-infer again from its sources, where CMake finds GCC or Clang";

[[noreturn]] void unusable(const fs::path &file, const std::string &why) {
    throw Error(MMCAF_BACKEND, file.string() + ": the processor's kernels cannot be used: " + why + ".",
                {Remedy{REBUILD, "", "", ""}, Remedy{"Or leave them out", "kernels", "", ""}});
}

// The system ends the process that loads a library which stops before its table of sections, its last part.
bool is_cut_short(const std::string &elf) {
    if (elf.size() < 64 || std::memcmp(elf.data(), "\x7f"
                                                   "ELF\x02",
                                       5) != 0) {
        return false;
    }
    uint64_t table;
    uint16_t size, count;
    std::memcpy(&table, &elf[0x28], sizeof table);
    std::memcpy(&size, &elf[0x3A], sizeof size);
    std::memcpy(&count, &elf[0x3C], sizeof count);
    return table > elf.size() || elf.size() - table < uint64_t{size} * count;
}

template <class Function> Function symbol(void *library, const fs::path &file, const char *name) {
    void *found = dlsym(library, name);
    if (found == nullptr) unusable(file, std::string("it has no ") + name + ": it was built from older sources");
    Function function;
    std::memcpy(&function, &found, sizeof function);
    return function;
}

std::string told(void *library, const fs::path &file, const char *name) {
    return symbol<const char *(*)()>(library, file, name)();
}

// The places where an installation has it: beside libmmcaf, or in the Python package of kernels.
std::vector<fs::path> places() {
    static const char here = 0;
    Dl_info own{};
    if (dladdr(&here, &own) == 0 || own.dli_fname == nullptr) return {};
    const fs::path folder = fs::weakly_canonical(own.dli_fname).parent_path();
    const std::string name = "libmmcaf_openvino_" + openvino_release() + ".so";
    return {folder / name, folder / "../../../mmcaf_kernels/cpu" / name};
}

}  // namespace

std::string openvino_build() { return ov::get_openvino_version().buildNumber; }

std::string openvino_release() {
    const std::string build = openvino_build();
    return build.substr(0, build.find_first_not_of("0123456789."));
}

Kernels::Kernels(const fs::path &file) {
    std::ifstream stream(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    if (!stream || bytes.empty()) unusable(file, "it cannot be read");
    if (is_cut_short(bytes)) unusable(file, "it ends before its last section");
    // It stays loaded: compiled networks call into it.
    void *library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) unusable(file, dlerror());
    const std::string level = told(library, file, "mmcaf_cpu_level");
    if (LEVELS.count(level) == 0) {
        missing_ = "this processor has no AVX2 and FMA, or MMCAF_CPU_FEATURES takes them away";
        fingerprint_ = "none";
        return;
    }
    placing_ = told(library, file, "mmcaf_placing");
    using Create = void (*)(std::vector<ov::Extension::Ptr> &);
    symbol<Create>(library, file, "create_extensions")(operators_);
    for (const char *name : OPERATORS) {
        try {
            operator_named(name);
        } catch (const std::invalid_argument &) {
            unusable(file, std::string("it has no ") + name + ": it was built from older sources");
        }
    }
    fingerprint_ = sha256_hex(bytes + placing_).substr(0, 12) + "-" + level;
}

Kernels Kernels::load(const std::optional<std::string> &named) {
    if (named && named->empty()) return Kernels(std::string("left out, as was asked for"));
    if (!kernels_allowed()) return Kernels(std::string("left out, as $MMCAF_KERNELS says"));
    if (named) return Kernels(fs::path(*named));
    for (const fs::path &file : places()) {
        if (fs::exists(file)) return Kernels(file);
    }
    return Kernels("there is no library of them for OpenVINO " + openvino_release());
}

void Kernels::add_to(ov::Core &core) const {
    if (present()) core.add_extension(operators_);
}

const ov::BaseOpExtension &Kernels::operator_named(const std::string &name) const {
    for (const ov::Extension::Ptr &one : operators_) {
        const auto *found = dynamic_cast<const ov::BaseOpExtension *>(one.get());
        if (found != nullptr && found->get_type_info().name == name) return *found;
    }
    throw std::invalid_argument("no operator " + name);
}

std::vector<std::pair<std::string, int>> kernels_in(const ov::CompiledModel &network) {
    std::map<std::string, int> found;
    for (const std::shared_ptr<ov::Node> &layer : network.get_runtime_model()->get_ops()) {
        const std::string named = layer->get_friendly_name(), kernel = named.substr(named.rfind('/') + 1);
        const auto type = layer->get_rt_info().find("layerType");
        if (type != layer->get_rt_info().end() && type->second.as<std::string>() == OWN_LAYER && LAYERS.count(kernel)) {
            ++found[kernel];
        }
    }
    return {found.begin(), found.end()};
}

}  // namespace mmcaf
