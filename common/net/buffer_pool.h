// BufferPool: large buffers that are used again, for messages and for batches on their way into one.
//
// Sizes are powers of two from 4 KiB; up to kIdleBytes of what was given back are kept, the rest is freed.
// The buffer that came back last is the first to go out, since it is the likeliest to be in the cache.
//
// Any thread, under one lock. All of a process share one pool (OfProcess), which lives as long as it does.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace penstock {

class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  static constexpr size_t kIdleBytes = size_t{64} << 20;

  // Given back when it is destroyed.
  class Buffer {
   public:
    Buffer() = default;  // none
    Buffer(Buffer&&) = default;
    Buffer& operator=(Buffer&& other) noexcept {
      std::swap(pool_, other.pool_);
      std::swap(size_, other.size_);
      std::swap(memory_, other.memory_);
      return *this;
    }
    ~Buffer();
    std::byte* data() const { return memory_.get(); }
    size_t bytes() const;  // at least what was asked for

   private:
    friend class BufferPool;
    using Memory = std::unique_ptr<std::byte[]>;
    Buffer(std::shared_ptr<BufferPool> pool, int size, Memory memory)
        : pool_(std::move(pool)), size_(size), memory_(std::move(memory)) {}
    std::shared_ptr<BufferPool> pool_;
    int size_ = 0;  // 4 KiB << size_
    Memory memory_;
  };

  static const std::shared_ptr<BufferPool>& OfProcess();

  // Aligned to 16 bytes; its contents are undefined. Throws std::bad_alloc.
  Buffer Take(size_t bytes);
  size_t idle_bytes() const;
  // Frees what is idle.
  void Trim();

 private:
  static constexpr int kSizes = 48;

  mutable std::mutex mutex_;
  std::array<std::vector<Buffer::Memory>, kSizes> idle_;  // guarded by mutex_
  size_t idle_bytes_ = 0;                                 // guarded by mutex_
};

}  // namespace penstock
