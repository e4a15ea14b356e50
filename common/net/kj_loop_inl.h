// Template bodies of kj_loop.h.
#pragma once

#include <boost/asio/post.hpp>

namespace penstock {

template <typename Fn>
auto BlockingPool::Run(KjLoop& loop, Fn fn) -> kj::Promise<decltype(fn())> {
  using T = decltype(fn());
  auto paf = kj::newPromiseAndFulfiller<T>();
  // The fulfiller only passes through the pool thread; it is used and destroyed on the loop.
  boost::asio::post(
      pool_,
      [&loop, fn = std::make_shared<Fn>(std::move(fn)),
       fulfiller = std::make_shared<kj::Own<kj::PromiseFulfiller<T>>>(kj::mv(paf.fulfiller))]() mutable {
        if constexpr (std::is_void_v<T>) {
          (*fn)();
          loop.Post([fulfiller = std::move(fulfiller)] { (*fulfiller)->fulfill(); });
        } else {
          loop.Post([fulfiller = std::move(fulfiller), value = (*fn)()]() mutable {
            (*fulfiller)->fulfill(kj::mv(value));
          });
        }
      });
  return kj::mv(paf.promise);
}

}  // namespace penstock
