// Producer: an identity to push under, and what is known of its pushes.
//
// Every push has a sequence of its producer, and the servers apply each (producer, sequence, table, shard)
// once. There are two kinds. A client's own producer (Client::NewProducer) forgets a sequence when it is
// answered. A job's producer (Client::AttachProducer) belongs to a data partition: it follows each sequence
// until it is in the logs of all copies, because only that counts as progress, and whoever takes the
// partition over pushes again from there under the same id.
//
// Threads: any.
#pragma once

#include <memory>
#include <mutex>

#include "client/producer_window.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace penstock {

class Producer : public std::enable_shared_from_this<Producer> {
 public:
  // Made by Client.
  Producer(ProducerId id, ProducerKind kind, Sequence begin) : id_(id), window_(kind, begin) {}

  ProducerId id() const { return id_; }
  // Every sequence below it is finished; servers forget those.
  Sequence low() const;
  // Job: every sequence below it is logged on all copies (a sequence that was passed over counts as such).
  // Moves with the answers of all calls of the client, and with Client::Flush. Client's own: low().
  Sequence recorded() const;
  // Job: a shard was taken up again (restart, move) before it was known to have logged something that it had
  // answered. Pushes are refused with kFailedPrecondition until Rewind; then push again everything from its
  // result on: what survived is recognised and not applied again.
  bool rewound() const;
  // The sequence to go on from, which is recorded(). kFailedPrecondition while a push is in flight: wait for
  // its answer first.
  Result<Sequence> Rewind();
  // How many pushes wait for their answer.
  size_t in_flight() const;

 private:
  friend class Client;
  friend class PushOperation;
  friend class ClientCore;

  // `edit` under the lock, on the window.
  template <typename Fn>
  auto With(Fn edit) {
    std::lock_guard lock(mutex_);
    return edit(window_);
  }

  const ProducerId id_;
  mutable std::mutex mutex_;
  ProducerWindow window_;  // guarded by mutex_
};

}  // namespace penstock
