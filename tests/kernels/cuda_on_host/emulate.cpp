// Runs a kernel of a CUDA source on the CPU: one block after the other in random order, a thread for each of CUDA's.
//
//     emulate ORDER SEED KERNEL BLOCKS THREADS SHARED DATA ARGUMENT...
//
// ORDER "random": between two barriers one thread runs after the other, in an order drawn anew each time, so that what
// lacks a barrier reads what is not there yet. "parallel": all run at once, for the thread sanitizer.
// SHARED: bytes of shared memory, full of NaN at first; under the address sanitizer no byte more can be touched.
// ARGUMENT: "buffer:BYTES:OFFSET", so much of the file DATA, at an address that many bytes past a multiple of 16;
// "again:INDEX", the buffer of an earlier argument; "null"; or "number:BYTES:VALUE", of VALUE the lower BYTES.
// Buffers have not a byte more than they were given, and are written back to DATA.

#include "cuda_on_host.h"
#include "kernels.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#ifdef MMCAF_ADDRESSES
#include <sanitizer/asan_interface.h>
#endif

thread_local Index threadIdx, blockIdx, blockDim, gridDim;
alignas(16) unsigned char mmcaf_shared[1 << 18];

namespace {

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "emulate: %s\n", what.c_str());
  std::_Exit(3);
}

// Threads of a block that have not ended meet at the same line of the source.
struct Lines {
  int first = 0;
  void note(int line) {
    if (first && first != line)
      fail("threads of a block wait in lines " + std::to_string(first) + " and " + std::to_string(line));
    first = line;
  }
};

struct Block {
  virtual ~Block() = default;
  virtual void start(unsigned thread) = 0;
  virtual void meet(unsigned thread, int line) = 0;
  virtual void end(unsigned thread) = 0;
};

class OneByOne : public Block {
 public:
  OneByOne(unsigned threads, std::mt19937& random) : random_(random), called_(threads) {
    for (unsigned thread = 0; thread < threads; ++thread) waiting_.push_back(thread);
    next();
  }
  void start(unsigned thread) override {
    std::unique_lock lock(mutex_);
    wait(lock, thread);
  }
  void meet(unsigned thread, int line) override {
    std::unique_lock lock(mutex_);
    lines_.note(line);
    waiting_.push_back(thread);
    next();
    wait(lock, thread);
  }
  void end(unsigned) override {
    const std::lock_guard lock(mutex_);
    next();
  }

 private:
  void wait(std::unique_lock<std::mutex>& lock, unsigned thread) {
    called_[thread].wait(lock, [&] { return now_ == static_cast<int>(thread); });
  }
  void next() {
    if (order_.empty()) {  // all have come to the barrier, or ended
      order_.swap(waiting_);
      lines_ = {};
      std::shuffle(order_.begin(), order_.end(), random_);
    }
    if (order_.empty()) return;
    now_ = static_cast<int>(order_.back());
    order_.pop_back();
    called_[static_cast<size_t>(now_)].notify_one();
  }

  std::mt19937& random_;
  std::mutex mutex_;
  std::vector<std::condition_variable> called_;
  std::vector<unsigned> order_, waiting_;  // who is still to run up to the barrier, and who waits there
  int now_ = -1;
  Lines lines_;
};

// A barrier orders what is before it and what is after it, and nothing else, or the thread sanitizer would overlook a
// race: so a thread that was let through reads nothing that others write on their way to the next barrier, as it would
// under a mutex.
class AtOnce : public Block {
 public:
  explicit AtOnce(unsigned threads) : alive_(threads), missing_(threads) {}
  void start(unsigned) override {}
  void meet(unsigned, int) override {
    const unsigned round = round_.load(std::memory_order_relaxed);
    arrive();
    while (round_.load(std::memory_order_acquire) == round) std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  void end(unsigned) override {
    alive_.fetch_sub(1, std::memory_order_acq_rel);
    arrive();
  }

 private:
  void arrive() {
    if (missing_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
    missing_.store(alive_.load(std::memory_order_acquire), std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
  }

  std::atomic<unsigned> alive_, missing_, round_ = 0;
};

Block* block_of_now;

using Value = std::vector<unsigned char>;  // of an argument, as the kernel takes it

const Kernel& kernel_named(const std::string& name) {
  for (size_t k = 0; k < KERNEL_COUNT; ++k)
    if (name == KERNELS[k].name) return KERNELS[k];
  fail("no kernel " + name);
}

void check(const Kernel& kernel, const std::vector<Value>& given) {
  if (given.size() != kernel.arguments)
    fail(std::to_string(given.size()) + " arguments, the kernel takes " + std::to_string(kernel.arguments));
  for (size_t k = 0; k < given.size(); ++k)
    if (given[k].size() != kernel.sizes[k])
      fail("argument " + std::to_string(k) + " has " + std::to_string(given[k].size()) + " bytes, the kernel takes " +
           std::to_string(kernel.sizes[k]));
}

struct Buffer {
  unsigned char* start;  // of the memory
  unsigned char* data;
  size_t bytes;
};

std::vector<std::string> parts_of(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char letter : text)
    if (letter == ':')
      parts.emplace_back();
    else
      parts.back() += letter;
  return parts;
}

Value value_of(const void* at, size_t size) {
  const auto* start = static_cast<const unsigned char*>(at);
  return {start, start + size};
}

}  // namespace

void meet(int line) { block_of_now->meet(threadIdx.x, line); }

int main(int count, char** words) {
  if (count < 8) fail("too few arguments");
  const std::string order = words[1];
  std::mt19937 random(static_cast<unsigned>(std::stoul(words[2])));
  const Kernel& kernel = kernel_named(words[3]);
  const auto blocks = static_cast<unsigned>(std::stoul(words[4])), threads = static_cast<unsigned>(std::stoul(words[5]));
  const size_t shared = std::stoul(words[6]);
  if (shared > sizeof mmcaf_shared) fail("too much shared memory");

  std::FILE* file = std::fopen(words[7], "r+b");
  if (!file) fail("no file of data");
  std::vector<Buffer> buffers;
  std::vector<Value> given;
  for (int k = 8; k < count; ++k) {
    const std::vector<std::string> parts = parts_of(words[k]);
    if (parts[0] == "buffer") {
      const size_t bytes = std::stoul(parts[1]), offset = std::stoul(parts[2]);
      auto* start = static_cast<unsigned char*>(std::malloc(bytes + offset));
      buffers.push_back({start, start + offset, bytes});
      if (std::fread(start + offset, 1, bytes, file) != bytes) fail("too little data");
      given.push_back(value_of(&buffers.back().data, sizeof(void*)));
    } else if (parts[0] == "again") {
      given.push_back(given.at(std::stoul(parts[1])));
    } else if (parts[0] == "null") {
      const void* null = nullptr;
      given.push_back(value_of(&null, sizeof null));
    } else {
      const unsigned long value = std::stoul(parts[2]);
      given.push_back(value_of(&value, std::stoul(parts[1])));
    }
  }
  check(kernel, given);
  std::vector<const void*> values;
  for (const Value& value : given) values.push_back(value.data());

#ifdef MMCAF_ADDRESSES
  __asan_poison_memory_region(mmcaf_shared + shared, sizeof mmcaf_shared - shared);
#endif
  std::vector<unsigned> turns(blocks);
  for (unsigned block = 0; block < blocks; ++block) turns[block] = block;
  std::shuffle(turns.begin(), turns.end(), random);
  for (const unsigned block : turns) {
    std::memset(mmcaf_shared, 0xff, shared);  // NaN in every type
    std::unique_ptr<Block> team;
    if (order == "random")
      team = std::make_unique<OneByOne>(threads, random);
    else
      team = std::make_unique<AtOnce>(threads);
    block_of_now = team.get();
    std::vector<std::thread> members;
    for (unsigned thread = 0; thread < threads; ++thread) {
      members.emplace_back([&, thread] {
        threadIdx = {thread, 0, 0}, blockIdx = {block, 0, 0}, blockDim = {threads, 1, 1}, gridDim = {blocks, 1, 1};
        block_of_now->start(thread);
        kernel.run(values.data());
        block_of_now->end(thread);
      });
    }
    for (std::thread& member : members) member.join();
  }

  std::rewind(file);
  for (const Buffer& buffer : buffers) {
    if (std::fwrite(buffer.data, 1, buffer.bytes, file) != buffer.bytes) fail("the data cannot be written");
    std::free(buffer.start);
  }
  return std::fclose(file) ? 3 : 0;
}
