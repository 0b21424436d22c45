#include "engine_cache.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "digest.hpp"
#include "error.hpp"
#include "text.hpp"

namespace mmcaf {
namespace {

namespace fs = std::filesystem;

constexpr int ENTRY_FORMAT = 1;
constexpr size_t MAX_ENTRY_BYTES = 256 * 1024, KEY_DIGITS = 64, BLOCK = 1 << 20;
const char *const ENGINE_NAME = "engine.bin", *const ENTRY_NAME = "entry.json";
#ifdef MADV_PAGEOUT
constexpr int PAGE_OUT = MADV_PAGEOUT;
#else
constexpr int PAGE_OUT = 21;  // Linux 5.4
#endif

Error unfit(const std::string &reason) { return Error(MMCAF_BACKEND, "The kept engine cannot be used: " + reason + "."); }

// A new file that refuses to grow beyond a limit.
class Bounded : public std::filebuf {
   public:
    Bounded(const Path &file, uint64_t limit) : left_(limit) {
        const Descriptor made(::open(file.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600));
        if (made.get() < 0 || open(file, std::ios::in | std::ios::out | std::ios::binary) == nullptr) {
            throw std::system_error(errno, std::generic_category(), file.string());
        }
    }

    bool exceeded() const { return exceeded_; }

   protected:
    std::streamsize xsputn(const char *bytes, std::streamsize count) override {
        exceeded_ = exceeded_ || static_cast<uint64_t>(count) > left_;
        if (exceeded_) return 0;
        left_ -= static_cast<uint64_t>(count);
        return std::filebuf::xsputn(bytes, count);
    }

   private:
    uint64_t left_;
    bool exceeded_ = false;
};

std::string file_sha256(const Path &file) {
    std::ifstream stream(file, std::ios::binary);
    Sha256 digest;
    std::string block(BLOCK, '\0');
    while (stream) {
        stream.read(block.data(), static_cast<std::streamsize>(block.size()));
        digest.update(block.data(), static_cast<size_t>(stream.gcount()));
    }
    return digest.hexadecimal();
}

std::string now() {
    const std::time_t seconds = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S+00:00", &utc);
    return text;
}

// What an entry says of its kernels, if it does.
std::optional<KernelCounts> recorded_kernels(const Json &entry) {
    const Json *told = entry.find("kernels");
    if (told == nullptr || told->is(Json::Kind::null)) return std::nullopt;
    KernelCounts counts;
    bool sound = told->is(Json::Kind::object);
    for (const auto &[name, layers] : told->object()) {
        sound = sound && layers.is(Json::Kind::integer) && layers.integer() >= 0;
        counts.emplace_back(name, static_cast<int>(layers.integer()));
    }
    if (!sound) throw unfit("its entry.json does not say how many layers are kernels");
    return counts;
}

bool is_key(const std::string &name) {
    return name.size() == KEY_DIGITS && name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

uint64_t bytes_below(const Path &folder) {
    uint64_t total = 0;
    std::error_code ignored;
    fs::recursive_directory_iterator at(folder, ignored);
    for (; !ignored && at != fs::recursive_directory_iterator(); at.increment(ignored)) {
        std::error_code unseen;
        const uint64_t size = at->is_regular_file(unseen) ? at->file_size(unseen) : 0;
        if (!unseen) total += size;
    }
    return total;
}

}  // namespace

Mapping::Mapping(const Descriptor &file, size_t size) : data_(nullptr), size_(size) {
    void *mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
    if (mapped == MAP_FAILED) throw std::system_error(errno, std::generic_category(), ENGINE_NAME);
    data_ = static_cast<uint8_t *>(mapped);
}

Mapping::~Mapping() { munmap(data_, size_); }

void Mapping::page_out() { madvise(data_, size_, PAGE_OUT); }

std::string engine_key(const Json &facts) {
    Json::Object document{{"format", ENTRY_FORMAT}};
    for (const auto &fact : facts.object()) document.push_back(fact);
    return sha256_hex(print_json_canonically(Json(std::move(document))));
}

EngineCache::EngineCache(Path folder, uint64_t limit) : folder_(std::move(folder)), limit_(limit) { make_private(folder_); }

Path EngineCache::entry(const Json &facts) const { return folder_ / engine_key(facts); }

std::optional<KeptEngine> EngineCache::load(const Json &facts) const {
    const Path entry = this->entry(facts);
    struct stat found {};
    if (lstat(entry.c_str(), &found) != 0) {
        if (errno == ENOENT) return std::nullopt;
        throw unfit(std::strerror(errno));
    }
    if (!S_ISDIR(found.st_mode)) throw unfit("its entry is no folder");
    const std::optional<std::string> text = read_own(entry / ENTRY_NAME, MAX_ENTRY_BYTES + 1);
    if (!text) throw unfit(std::string(ENTRY_NAME) + " is missing, or not a file of this user");
    const Json told = parse_json(*text, "The kept engine's entry.json", MMCAF_BACKEND, MAX_ENTRY_BYTES);
    const Json *format = told.find("format"), *made_for = told.find("facts");
    const bool for_this = format && *format == Json(ENTRY_FORMAT) && made_for && *made_for == facts;
    if (!for_this) throw unfit("its entry.json was made for something else");
    const Json *sha256 = told.find("sha256"), *size = told.find("size");
    if (!sha256 || !size || !sha256->is(Json::Kind::text) || !size->is(Json::Kind::integer)) {
        throw unfit("its entry.json does not say its size and SHA-256");
    }
    try {
        const Descriptor file = open_own(entry / ENGINE_NAME);
        struct stat engine {};
        if (fstat(file.get(), &engine) != 0) throw std::system_error(errno, std::generic_category(), ENGINE_NAME);
        if (engine.st_size != size->integer() || engine.st_size == 0) {
            throw unfit("it has " + std::to_string(engine.st_size) + " bytes; " + size->text() + " are recorded");
        }
        auto blob = std::make_shared<Mapping>(file, static_cast<size_t>(engine.st_size));
        Sha256 digest;
        digest.update(blob->data(), blob->size());
        const std::string hashed = digest.hexadecimal();
        if (hashed != sha256->text()) {
            throw unfit("its SHA-256 is " + hashed.substr(0, 16) + "..., " + sha256->text().substr(0, 16) +
                        "... is recorded");
        }
        mark_used(entry);
        return KeptEngine{std::move(blob), hashed, recorded_kernels(told)};
    } catch (const std::system_error &failure) {
        throw unfit(failure.what());
    }
}

EngineDraft EngineCache::draft(const Json &facts, const std::string &bundle, const KernelCounts &kernels,
                               const std::function<void(std::ostream &)> &write) const {
    StagingFolder folder(folder_);
    const Path engine = folder.path() / ENGINE_NAME;
    {
        Bounded file(engine, limit_);
        std::ostream stream(&file);
        write(stream);
        stream.flush();
        if (file.exceeded()) {
            throw std::runtime_error("it exceeds the cache's limit of " + general(static_cast<double>(limit_) / (1 << 20)) +
                                     " MiB");
        }
        if (!stream) throw std::runtime_error("it cannot be written");
    }
    const std::string sha256 = file_sha256(engine);
    Json::Object counts;
    for (const auto &[name, layers] : kernels) counts.emplace_back(name, layers);
    const Json entry = Json::Object{{"format", ENTRY_FORMAT},
                                    {"sha256", sha256},
                                    {"size", static_cast<uint64_t>(fs::file_size(engine))},
                                    {"bundle", bundle},
                                    {"origin", "built here"},
                                    {"created", now()},
                                    {"facts", facts},
                                    {"kernels", std::move(counts)}};
    write_new(folder.path() / ENTRY_NAME, print_json_in_lines(entry) + "\n");
    return EngineDraft{std::move(folder), engine_key(facts), sha256};
}

void EngineCache::keep(EngineDraft draft) const {
    const Path final = folder_ / draft.key;
    draft.folder.commit(final);  // If another process has kept one in the meantime, that one stays.
    mark_used(final);
    make_room(final);
}

bool EngineCache::remove(const Json &facts) const { return remove_whole(entry(facts)); }

void EngineCache::make_room(const Path &newest) const {
    struct Item {
        fs::file_time_type used;
        Path path;
        uint64_t size;
    };
    std::vector<Item> items;
    std::error_code ignored;
    uint64_t total = 0;
    for (const Path &path : listed(folder_)) {
        const std::string name = path.filename().string();
        if (!is_key(name) && !is_staging(name)) continue;
        items.push_back({fs::last_write_time(path, ignored), path, bytes_below(path)});
        total += items.back().size;
    }
    std::sort(items.begin(), items.end(), [](const Item &one, const Item &other) {
        return std::tie(one.used, one.path) < std::tie(other.used, other.path);
    });
    for (const Item &item : items) {
        const bool surplus = total > limit_ && item.path != newest && !is_staging(item.path.filename().string());
        if (surplus && remove_whole(item.path)) total -= item.size;
    }
}

}  // namespace mmcaf
