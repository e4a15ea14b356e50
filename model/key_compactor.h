// KeyCompactor: the distinct keys of a minibatch in the order first seen, and the position of each.
//
// An open-addressing table whose slots carry the number of the list they belong to, so that beginning a new
// list costs nothing. Owned by one thread. Positions are 32 bits: a minibatch has at most 2^32 - 1 distinct
// keys.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/base/hash.h"
#include "common/base/ids.h"

namespace penstock {

class KeyCompactor {
 public:
  // Forgets the previous list.
  void Begin(std::vector<Key>* keys) {
    keys_ = keys;
    keys_->clear();
    if (slots_.empty()) Resize(kFirstSlots);
    if (++list_ == 0) {  // the counter went round: old slots could look new
      for (Slot& slot : slots_) slot.list = 0;
      list_ = 1;
    }
  }

  // Add of `offset` + each of the keys, to positions[i]. Several times as fast, because the slots of those
  // that follow are on their way from memory.
  void AddAll(std::span<const Key> keys, Key offset, uint32_t* positions) {
    constexpr size_t kAhead = 16;
    // In pieces: most keys of a minibatch repeat, and slots for the distinct ones alone stay in the cache.
    constexpr size_t kPiece = 1024;
    size_t size = keys_->size();
    for (size_t i = 0; i < keys.size();) {
      const size_t end = std::min(keys.size(), i + kPiece);
      while ((size + end - i) * 2 > slots_.size()) Grow();
      keys_->resize(size + end - i);
      Key* const list = keys_->data();
      for (; i < end; ++i) {
        if (i + kAhead < keys.size()) __builtin_prefetch(&slots_[Home(offset + keys[i + kAhead])], 1);
        const Key key = offset + keys[i];
        Slot& slot = Find(key);
        // Whether a key is new cannot be predicted, so both cases do the same.
        const bool added = slot.list != list_;
        const uint32_t position = added ? static_cast<uint32_t>(size) : slot.position;
        list[size] = key;
        slot = {key, position, list_};
        positions[i] = position;
        size += added ? 1 : 0;
      }
      keys_->resize(size);
    }
  }

  // The position of `key` in the list, which it is appended to if it is new.
  uint32_t Add(Key key) {
    if (keys_->size() * 2 >= slots_.size()) Grow();
    Slot& slot = Find(key);
    if (slot.list != list_) {
      slot = {key, static_cast<uint32_t>(keys_->size()), list_};
      keys_->push_back(key);
    }
    return slot.position;
  }

 private:
  struct Slot {
    Key key = 0;
    uint32_t position = 0;
    uint32_t list = 0;  // empty unless it is list_
  };

  static constexpr size_t kFirstSlots = 1024;

  size_t Home(Key key) const { return Mix64(key) & mask_; }
  Slot& Find(Key key) {
    size_t i = Home(key);
    while (slots_[i].list == list_ && slots_[i].key != key) i = (i + 1) & mask_;
    return slots_[i];
  }
  void Resize(size_t slots) {
    slots_.assign(slots, Slot{});
    mask_ = slots - 1;
    list_ = 0;
  }
  void Grow() {
    Resize(slots_.size() * 2);
    list_ = 1;
    for (size_t i = 0; i < keys_->size(); ++i)
      Find((*keys_)[i]) = {(*keys_)[i], static_cast<uint32_t>(i), list_};
  }

  std::vector<Slot> slots_;
  size_t mask_ = 0;
  uint32_t list_ = 0;
  std::vector<Key>* keys_ = nullptr;
};

}  // namespace penstock
