#include "common/net/buffer_pool.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace penstock {
namespace {

constexpr int kSmallest = 12;  // log2 of 4 KiB

constexpr size_t BytesOf(int size) { return size_t{1} << (kSmallest + size); }

}  // namespace

BufferPool::Buffer::~Buffer() {
  if (memory_ == nullptr) return;
  std::lock_guard lock(pool_->mutex_);
  if (pool_->idle_bytes_ + bytes() > kIdleBytes) return;
  pool_->idle_bytes_ += bytes();
  pool_->idle_[static_cast<size_t>(size_)].push_back(std::move(memory_));
}

size_t BufferPool::Buffer::bytes() const { return BytesOf(size_); }

const std::shared_ptr<BufferPool>& BufferPool::OfProcess() {
  static const auto* pool = new std::shared_ptr<BufferPool>(std::make_shared<BufferPool>());
  return *pool;
}

BufferPool::Buffer BufferPool::Take(size_t bytes) {
  const int width = static_cast<int>(std::bit_width(std::max<size_t>(bytes, 1) - 1));
  const int size = std::max(width - kSmallest, 0);
  {
    std::lock_guard lock(mutex_);
    auto& idle = idle_.at(static_cast<size_t>(size));
    if (!idle.empty()) {
      auto memory = std::move(idle.back());
      idle.pop_back();
      idle_bytes_ -= BytesOf(size);
      return {shared_from_this(), size, std::move(memory)};
    }
  }
  return {shared_from_this(), size, std::make_unique_for_overwrite<std::byte[]>(BytesOf(size))};
}

void BufferPool::Trim() {
  decltype(idle_) idle;
  std::lock_guard lock(mutex_);
  idle.swap(idle_);
  idle_bytes_ = 0;
}

size_t BufferPool::idle_bytes() const {
  std::lock_guard lock(mutex_);
  return idle_bytes_;
}

}  // namespace penstock
