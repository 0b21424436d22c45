// Packed weights, aligned to a vector.

#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace mmcaf {

// Zeros at first.
template <class T> class Aligned {
   public:
    explicit Aligned(size_t count = 0) : count_(count) {
        if (!count) return;
        const size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
        memory_.reset(static_cast<T *>(std::aligned_alloc(64, bytes)));
        if (!memory_) throw std::bad_alloc();
        std::memset(memory_.get(), 0, bytes);
    }
    T *data() { return memory_.get(); }
    const T *data() const { return memory_.get(); }
    size_t size() const { return count_; }

   private:
    struct Free {
        void operator()(void *memory) const { std::free(memory); }
    };
    std::unique_ptr<T, Free> memory_;
    size_t count_;
};

}  // namespace mmcaf
