// Dispatcher: the actions of DispatchFsm on a KJ loop.
#include "client/dispatcher.h"

#include <glog/logging.h>

#include <utility>

#include "common/net/rpc_status.h"

namespace penstock {

Dispatcher::Dispatcher(KjLoop& loop, ConnectionCache& connections, MapKeeper& map,
                       const DispatchOptions& options, uint64_t attempt_timeout_ms, LogSeen log_seen)
    : loop_(loop),
      connections_(connections),
      map_(map),
      attempt_timeout_ms_(attempt_timeout_ms),
      log_seen_(std::move(log_seen)),
      fsm_(map.fsm(), options),
      tasks_(*this) {}

Dispatcher::~Dispatcher() = default;

void Dispatcher::Start(std::shared_ptr<Operation> operation) {
  operation->begun_ms = loop_.NowMs();
  fsm_.Start(operation);
  if (!operation->ended()) {
    operation->timer_ = loop_.Sleep(operation->deadline_ms())
                            .then([this, weak = std::weak_ptr<Operation>(operation)] {
                              if (auto strong = weak.lock()) fsm_.OnDeadline(strong);
                              Perform();
                            })
                            .eagerlyEvaluate([](kj::Exception&& e) {
                              LOG(ERROR) << "deadline: " << e.getDescription().cStr();
                            });
  }
  Perform();
}

void Dispatcher::Cancel() {
  fsm_.Cancel();
  Perform();
}

void Dispatcher::Perform() {
  if (std::exchange(performing_, true)) return;  // an operation's end began another one: below
  while (auto action = fsm_.NextAction()) Perform(std::move(*action));
  performing_ = false;
}

void Dispatcher::Perform(DispatchFsm::Action action) {
  using Kind = DispatchFsm::Action::Kind;
  switch (action.kind) {
    case Kind::kSend:
      return Send(std::move(action.channel), std::move(action.message));
    case Kind::kDrop:
      return connections_.Drop(action.endpoint);
    case Kind::kLook:
    case Kind::kSleep: {
      auto waited = action.kind == Kind::kLook ? map_.Refresh() : loop_.Sleep(action.ms);
      // A look that failed is over too.
      return tasks_.add(
          waited.catch_([](kj::Exception&&) {}).then([this, waiting = std::move(action.waiting)] {
            fsm_.OnWake(waiting, loop_.NowMs());
            Perform();
          }));
    }
    case Kind::kWatch:
      return tasks_.add(loop_.Sleep(action.ms).then([this] {
        fsm_.OnWatch(loop_.NowMs());
        Perform();
      }));
    case Kind::kEnd:
      return End(static_cast<Operation&>(*action.call), std::move(action.status));
  }
}

void Dispatcher::Send(ChannelPtr channel, MessagePtr message) {
  auto connected = connections_.Get(channel->endpoint);
  tasks_.add(connected.then([this, channel = std::move(channel), message = std::move(message)](
                                Result<capnp::Capability::Client>&& service) -> kj::Promise<void> {
    if (!service.ok()) {
      fsm_.OnNotConnected(channel, message, service.status());
      Perform();
      return kj::READY_NOW;
    }
    const bool send = fsm_.OnConnected(channel, message, loop_.NowMs());
    Perform();
    if (!send) return kj::READY_NOW;
    auto& operation = static_cast<Operation&>(*message->call);
    auto server = service->castAs<proto::DataPlane>();
    auto sent = kj::evalNow([&] { return operation.Send(server, message->groups); });
    const uint64_t longest_ms = operation.scans() ? operation.deadline_ms() : attempt_timeout_ms_;
    return WithDeadline<Operation::Answer>(loop_.timer(), longest_ms, kj::mv(sent), "no answer")
        .then([this, channel, message](Result<Operation::Answer>&& answer) {
          // It may be in the connection's queue still. The connection goes at the end of this turn of the
          // loop, this after it.
          if (!answer.ok()) tasks_.add(loop_.Sleep(1).then([call = message->call] {}));
          log_seen_(fsm_.OnAnswer(channel, message, std::move(answer), loop_.NowMs()));
          Perform();
        });
  }));
}

void Dispatcher::End(Operation& operation, Status status) {
  // Not here: this may be the timer's own continuation.
  if (operation.timer_ != nullptr)
    tasks_.add(kj::evalLater([timer = kj::mv(operation.timer_)]() mutable { timer = nullptr; }));
  operation.timer_ = nullptr;
  operation.Complete(std::move(status));
}

void Dispatcher::taskFailed(kj::Exception&& e) {
  LOG(ERROR) << loop_.name() << ": " << e.getDescription().cStr();
}

}  // namespace penstock
