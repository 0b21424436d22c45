#include "scratch.hpp"

#include <cstdlib>
#include <memory>
#include <new>

namespace mmcaf {
namespace {

struct Free {
    void operator()(void *memory) const { std::free(memory); }
};

struct Room {
    std::unique_ptr<void, Free> memory;
    size_t bytes = 0;
};

}  // namespace

void *scratch(size_t bytes) {
    thread_local Room room;
    if (room.bytes < bytes) {
        const size_t whole = (bytes + 4095) / 4096 * 4096;
        room.bytes = 0;
        room.memory.reset();
        room.memory.reset(std::aligned_alloc(64, whole));
        if (!room.memory) throw std::bad_alloc();
        room.bytes = whole;
    }
    return room.memory.get();
}

}  // namespace mmcaf
