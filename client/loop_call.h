// CallOnLoop: runs an asynchronous call on a loop's thread and waits for its Result; and the Completion that
// makes sure of an answer.
#pragma once

#include <future>
#include <memory>
#include <utility>

#include "common/net/kj_loop.h"

namespace penstock {

// Calls its function once: with the value it is given, or with kCancelled when it is destroyed without one (a
// loop that stops destroys what is posted to it unrun). Moved between threads, never shared.
template <typename T>
class Completion {
 public:
  using Function = absl::AnyInvocable<void(Result<T>)>;
  explicit Completion(Function function) : function_(std::move(function)) {}
  Completion(Completion&& other) noexcept : function_(std::exchange(other.function_, nullptr)) {}
  Completion& operator=(Completion&&) = delete;
  ~Completion() {
    if (function_) (*this)(Result<T>(Cancelled("the client is being destroyed")));
  }
  void operator()(Result<T> result) { std::exchange(function_, nullptr)(std::move(result)); }

 private:
  Function function_;
};

template <typename T>
Completion<T> CompletionOf(std::promise<Result<T>> promise) {
  return Completion<T>(
      [promise = std::move(promise)](Result<T> result) mutable { promise.set_value(std::move(result)); });
}

// fn runs on the loop and returns kj::Promise<Result<T>>; its own deadline ends it. kFailedPrecondition when
// called on the loop itself, kCancelled when the loop stops first.
template <typename T, typename Fn>
Result<T> CallOnLoop(KjLoop& loop, std::string what, Fn fn) {
  if (loop.OnLoop()) return FailedPrecondition(what + ": a blocking call in a callback of the client's loop");
  std::promise<Result<T>> promise;
  auto future = promise.get_future();
  loop.Post([&loop, what, done = CompletionOf<T>(std::move(promise)), fn = std::move(fn)]() mutable {
    auto shared = std::make_shared<Completion<T>>(std::move(done));
    loop.Detach(fn().then([shared](Result<T>&& result) { (*shared)(std::move(result)); },
                          [shared, what](kj::Exception&& e) {
                            (*shared)(Result<T>(Internal(what + ": " + e.getDescription().cStr())));
                          }),
                what);
  });
  return future.get();
}

}  // namespace penstock
