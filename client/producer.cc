// Producer: a ProducerWindow under a lock.
#include "client/producer.h"

namespace penstock {

Sequence Producer::low() const {
  std::lock_guard lock(mutex_);
  return window_.low();
}

Sequence Producer::recorded() const {
  std::lock_guard lock(mutex_);
  return window_.recorded();
}

bool Producer::rewound() const {
  std::lock_guard lock(mutex_);
  return window_.rewound();
}

Result<Sequence> Producer::Rewind() {
  std::lock_guard lock(mutex_);
  auto begin = window_.Rewind();
  if (!begin.ok()) return begin.status().Prepend("producer " + std::to_string(id_));
  return begin;
}

size_t Producer::in_flight() const {
  std::lock_guard lock(mutex_);
  return window_.in_flight();
}

}  // namespace penstock
