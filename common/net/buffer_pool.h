// BufferPool: memory of a thread that is used again for messages.
//
// Sizes are powers of two from 4 KiB; up to kIdleBytes of what was given back are kept, the rest is freed.
// The buffer that came back last is the first to go out, since it is the likeliest to be in the cache.
//
// Belongs to one thread; what still has a buffer of it keeps it alive.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

namespace penstock {

class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  static constexpr size_t kIdleBytes = size_t{32} << 20;

  // Given back when it is destroyed, on its pool's thread.
  class Buffer {
   public:
    Buffer(Buffer&&) = default;
    Buffer& operator=(Buffer&&) = delete;
    ~Buffer();
    std::byte* data() const { return memory_.get(); }
    size_t bytes() const;  // at least what was asked for

   private:
    friend class BufferPool;
    using Memory = std::unique_ptr<std::byte[]>;
    Buffer(std::shared_ptr<BufferPool> pool, int size, Memory memory)
        : pool_(std::move(pool)), size_(size), memory_(std::move(memory)) {}
    std::shared_ptr<BufferPool> pool_;
    int size_;  // 4 KiB << size_
    Memory memory_;
  };

  // That of the calling thread.
  static std::shared_ptr<BufferPool> OfThread();

  // Aligned to 8 bytes; its contents are undefined. Throws std::bad_alloc.
  Buffer Take(size_t bytes);
  size_t idle_bytes() const { return idle_bytes_; }

 private:
  static constexpr int kSizes = 48;

  std::array<std::vector<Buffer::Memory>, kSizes> idle_;
  size_t idle_bytes_ = 0;
};

}  // namespace penstock
