#include "tests/chaos/fault_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <utility>
#include <vector>

namespace penstock {
namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kMostQueued = 4 << 20;  // a direction; beyond it the sender is made to wait
constexpr int kLongestPollMs = 1000;

using Clock = std::chrono::steady_clock;

sockaddr_in Address(const std::string& host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  return address;
}

int NewSocket() { return ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

}  // namespace

// Two sockets and what is on its way between them. sides_[0] is the source.
class FaultProxy::Connection {
 public:
  Connection(FaultProxy& proxy, int source, int target) : proxy_(proxy), sides_{source, target} {
    const int on = 1;
    for (const int fd : sides_) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ++proxy_.open_;
  }
  ~Connection() {
    --proxy_.open_;
    for (const int fd : sides_) {
      if (broken_) {  // a RST in place of a FIN
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      }
      ::close(fd);
    }
  }
  Connection(const Connection&) = delete;

  void Break() { broken_ = true; }
  void HalfClose(size_t direction) { flows_[direction].source_ended = true; }
  bool over() const { return broken_ || (flows_[0].closed && flows_[1].closed); }

  // What to poll for; `wait_ms` becomes the time until something is due if that is less.
  void Prepare(std::vector<pollfd>* polls, int* wait_ms) {
    const auto now = Clock::now();
    short events[2] = {0, 0};
    for (size_t d = 0; d < 2; ++d) {
      TakeVersion(d, now);
      const Flow& flow = flows_[d];
      const LinkFault& fault = proxy_.settings_[d].fault;
      if (!flow.source_ended && !fault.hold && flow.queued < kMostQueued) events[d] |= POLLIN;
      if (flow.queue.empty()) continue;
      const auto due = std::max(flow.queue.front().due, flow.next_write);
      if (due <= now) {
        events[1 - d] |= POLLOUT;
      } else {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(due - now).count() + 1;
        *wait_ms = static_cast<int>(std::min<int64_t>(*wait_ms, left));
      }
    }
    // A descriptor with nothing to wait for is left out: a peer that has gone would make poll return at once.
    for (size_t side = 0; side < 2; ++side)
      polls->push_back({.fd = events[side] == 0 ? -1 : sides_[side], .events = events[side], .revents = 0});
  }

  void Work(const pollfd* polls) {
    for (size_t d = 0; d < 2 && !broken_; ++d) {
      if (polls[d].revents != 0 && (polls[d].events & POLLIN) != 0) Read(d);
      if (!broken_) Write(d);
    }
  }

 private:
  struct Chunk {
    Clock::time_point due;
    std::string bytes;
  };
  struct Flow {
    std::deque<Chunk> queue;
    size_t queued = 0;
    bool source_ended = false, closed = false;
    bool lost_bytes = false;
    uint64_t version = 0, since_version = 0;
    Clock::time_point next_write;
  };

  void TakeVersion(size_t d, Clock::time_point now) {
    Flow& flow = flows_[d];
    if (flow.version == proxy_.settings_[d].version) return;
    flow.version = proxy_.settings_[d].version;
    flow.since_version = 0;
    flow.next_write = now;
    if (flow.lost_bytes && !proxy_.settings_[d].fault.drop) broken_ = true;
  }

  void Read(size_t d) {
    Flow& flow = flows_[d];
    const LinkFault& fault = proxy_.settings_[d].fault;
    if (fault.hold) return;  // set since poll was asked
    std::string bytes(kReadBytes, '\0');
    const ssize_t n = ::recv(sides_[d], bytes.data(), bytes.size(), 0);
    if (n < 0) {
      if (errno != EAGAIN && errno != EINTR) broken_ = true;
      return;
    }
    if (n == 0) {
      flow.source_ended = true;
      return;
    }
    if (fault.drop) {
      flow.lost_bytes = true;
      proxy_.dropped_ += static_cast<uint64_t>(n);
      return;
    }
    bytes.resize(static_cast<size_t>(n));
    flow.queued += bytes.size();
    flow.queue.push_back({Clock::now() + std::chrono::milliseconds(fault.delay_ms), std::move(bytes)});
  }

  // How much may be written now of the chunk in front.
  size_t Allowed(const Flow& flow, const LinkFault& fault) const {
    size_t most = flow.queue.front().bytes.size();
    if (fault.bytes_per_second)
      most = std::min<size_t>(most, std::max<uint64_t>(*fault.bytes_per_second / 20, 1));
    if (fault.cut_after_bytes) most = std::min<size_t>(most, *fault.cut_after_bytes - flow.since_version);
    return most;
  }

  void Write(size_t d) {
    Flow& flow = flows_[d];
    const LinkFault& fault = proxy_.settings_[d].fault;
    while (!flow.queue.empty()) {
      const auto now = Clock::now();
      if (flow.queue.front().due > now || flow.next_write > now) return;
      Chunk& chunk = flow.queue.front();
      const size_t most = Allowed(flow, fault);
      const ssize_t n = most == 0 ? 0 : ::send(sides_[1 - d], chunk.bytes.data(), most, MSG_NOSIGNAL);
      if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) broken_ = true;
        return;
      }
      proxy_.forwarded_[d] += static_cast<uint64_t>(n);
      flow.since_version += static_cast<uint64_t>(n);
      flow.queued -= static_cast<size_t>(n);
      chunk.bytes.erase(0, static_cast<size_t>(n));
      if (chunk.bytes.empty()) flow.queue.pop_front();
      if (fault.bytes_per_second)
        flow.next_write =
            now + std::chrono::microseconds(1000000 * n / std::max<uint64_t>(*fault.bytes_per_second, 1));
      if (fault.cut_after_bytes && flow.since_version >= *fault.cut_after_bytes) {
        broken_ = true;
        return;
      }
    }
    // An end is lost like bytes are.
    if (flow.source_ended && !flow.closed && !flow.lost_bytes && !fault.drop) {
      ::shutdown(sides_[1 - d], SHUT_WR);
      flow.closed = true;
    }
  }

  FaultProxy& proxy_;
  const int sides_[2];
  Flow flows_[2];  // by direction: 0 reads sides_[0] and writes sides_[1]
  bool broken_ = false;
};

Result<std::unique_ptr<FaultProxy>> FaultProxy::Start(const Options& options) {
  const int listener = NewSocket();
  const int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address = Address(options.host, options.port);
  socklen_t length = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(listener, 128) != 0 ||
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    const int error = errno;
    ::close(listener);
    return ErrnoStatus(error, "proxy on " + options.host + ":" + std::to_string(options.port));
  }
  const int wake = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return std::unique_ptr<FaultProxy>(new FaultProxy(options, listener, wake, ntohs(address.sin_port)));
}

FaultProxy::FaultProxy(const Options& options, int listener, int wake, uint16_t port)
    : options_(options), listener_(listener), wake_(wake), port_(port), thread_([this] { Main(); }) {}

FaultProxy::~FaultProxy() {
  stop_ = true;
  Wake();
  thread_.join();
  connections_.clear();
  ::close(listener_);
  ::close(wake_);
}

void FaultProxy::Wake() {
  const uint64_t one = 1;
  if (::write(wake_, &one, sizeof one) < 0) return;  // it is awake already
}

void FaultProxy::Set(Direction direction, const LinkFault& fault) {
  {
    std::lock_guard lock(mutex_);
    Setting& setting = wanted_[Index(direction)];
    setting = {.fault = fault, .version = setting.version + 1};
  }
  Wake();
}

void FaultProxy::SetBoth(const LinkFault& fault) {
  Set(Direction::kToTarget, fault);
  Set(Direction::kToSource, fault);
}

void FaultProxy::ResetAll() {
  {
    std::lock_guard lock(mutex_);
    reset_all_ = true;
  }
  Wake();
}

void FaultProxy::HalfClose(Direction direction) {
  {
    std::lock_guard lock(mutex_);
    half_close_[Index(direction)] = true;
  }
  Wake();
}

void FaultProxy::TakeOrders() {
  uint64_t count = 0;
  if (::read(wake_, &count, sizeof count) < 0) return;  // nothing new
  std::lock_guard lock(mutex_);
  for (size_t d = 0; d < 2; ++d) {
    settings_[d] = wanted_[d];
    if (std::exchange(half_close_[d], false)) {
      for (Connection& connection : connections_) connection.HalfClose(d);
    }
  }
  if (std::exchange(reset_all_, false)) {
    for (Connection& connection : connections_) connection.Break();
  }
}

void FaultProxy::Accept() {
  const int source = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (source < 0) return;
  ++accepted_;
  const int target = NewSocket();
  const sockaddr_in address = Address(options_.target_host, options_.target_port);
  // Where nobody listens on loopback, connect fails at once or the first write does: the source is reset.
  const bool refused = ::connect(target, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
                       errno != EINPROGRESS;
  connections_.emplace_back(*this, source, target);
  if (refused) connections_.back().Break();
}

void FaultProxy::Main() {
  std::vector<pollfd> polls;
  while (!stop_) {
    int wait_ms = kLongestPollMs;
    polls.assign(
        {{.fd = wake_, .events = POLLIN, .revents = 0}, {.fd = listener_, .events = POLLIN, .revents = 0}});
    for (Connection& connection : connections_) connection.Prepare(&polls, &wait_ms);
    connections_.remove_if([](const Connection& connection) { return connection.over(); });
    if (polls.size() != 2 + 2 * connections_.size()) continue;  // one has ended: the places have moved
    if (::poll(polls.data(), polls.size(), wait_ms) < 0) continue;
    TakeOrders();  // whatever poll said: what was set before bytes were sent holds for them
    size_t place = 2;
    for (Connection& connection : connections_) {
      connection.Work(&polls[place]);
      place += 2;
    }
    connections_.remove_if([](const Connection& connection) { return connection.over(); });
    if (polls[1].revents != 0) Accept();
  }
}

}  // namespace penstock
