// FaultProxy: a TCP proxy in front of one endpoint whose connections can be made slow, silent or broken while
// they are open.
//
// Source is who connects to the proxy, target is what it connects to. Faults are set for each direction
// apart, so that a link may be broken one way only; they hold for connections that are open and for those to
// come. A connection that has lost bytes never carries later ones, as no network does that to TCP: it is
// reset when the fault ends.
//
// A thread of its own does all the work. Every method may be called from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "common/base/status.h"

namespace penstock {

enum class Direction { kToTarget = 0, kToSource = 1 };

struct LinkFault {
  uint64_t delay_ms = 0;  // every byte arrives so much later
  bool drop = false;      // read and thrown away
  bool hold = false;      // not read: arrives when the fault ends, as after a short partition
  std::optional<uint64_t> bytes_per_second;
  std::optional<uint64_t> cut_after_bytes;  // from now on, each connection: then it is reset
};

class FaultProxy {
 public:
  struct Options {
    std::string host = "127.0.0.1";  // to listen on
    uint16_t port = 0;               // 0: any free one
    std::string target_host = "127.0.0.1";
    uint16_t target_port = 0;
  };
  // kUnavailable with the address when it cannot listen there.
  static Result<std::unique_ptr<FaultProxy>> Start(const Options& options);
  ~FaultProxy();
  FaultProxy(const FaultProxy&) = delete;
  FaultProxy& operator=(const FaultProxy&) = delete;

  uint16_t port() const { return port_; }
  std::string endpoint() const { return options_.host + ":" + std::to_string(port_); }

  void Set(Direction direction, const LinkFault& fault);
  void SetBoth(const LinkFault& fault);
  void Heal() { SetBoth({}); }
  // Connections that are open now: reset, or one direction of them ended (FIN) while the other goes on.
  void ResetAll();
  void HalfClose(Direction direction);

  uint64_t accepted() const { return accepted_; }
  uint64_t open() const { return open_; }
  uint64_t forwarded_bytes(Direction direction) const { return forwarded_[Index(direction)]; }
  uint64_t dropped_bytes() const { return dropped_; }

 private:
  class Connection;
  struct Setting {
    LinkFault fault;
    uint64_t version = 0;
  };
  FaultProxy(const Options& options, int listener, int wake, uint16_t port);
  static size_t Index(Direction direction) { return static_cast<size_t>(direction); }
  void Wake();
  void Main();
  void Accept();
  void TakeOrders();

  const Options options_;
  const int listener_, wake_;
  const uint16_t port_;
  std::atomic<uint64_t> accepted_{0}, open_{0}, dropped_{0};
  std::atomic<uint64_t> forwarded_[2] = {};

  std::mutex mutex_;
  Setting wanted_[2];        // guarded by mutex_
  bool reset_all_ = false;   // guarded by mutex_
  bool half_close_[2] = {};  // guarded by mutex_
  std::atomic<bool> stop_{false};

  // The thread's own.
  Setting settings_[2];
  std::list<Connection> connections_;
  std::thread thread_;
};

}  // namespace penstock
