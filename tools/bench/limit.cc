#include "tools/bench/limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tools/bench/pinning.h"

namespace penstock {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// `flags` MSG_DONTWAIT: asks again and again instead of sleeping.
bool ReadFully(int fd, char* data, size_t size, int flags = 0) {
  while (size > 0) {
    const ssize_t n = ::recv(fd, data, size, flags);
    if (n < 0 && errno == EAGAIN) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool WriteFully(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = ::send(fd, data, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

// A connection to a child process that runs `peer` on its end of it, on `processor` if one is named.
class Peer {
 public:
  static Result<Peer> Start(std::optional<int> processor, const std::function<void(int)>& peer) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (listener < 0 || ::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener, 1) != 0 ||
        ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      return ErrnoStatus(errno, "listen on loopback");
    }
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) return ErrnoStatus(errno, "fork");
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      const int fd = ::accept(listener, nullptr, nullptr);
      if (fd >= 0) {
        std::optional<PinnedThread> pinned;
        if (processor) pinned.emplace(*processor);
        NoDelay(fd);
        peer(fd);
      }
      ::_exit(fd >= 0 ? 0 : 1);
    }
    ::close(listener);
    Peer result(child, ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(result.fd_, reinterpret_cast<sockaddr*>(&address), size) != 0)
      return ErrnoStatus(errno, "connect on loopback");
    NoDelay(result.fd_);
    return result;
  }
  Peer(Peer&& other) noexcept : child_(std::exchange(other.child_, -1)), fd_(std::exchange(other.fd_, -1)) {}
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    if (fd_ >= 0) ::close(fd_);
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
  }
  int fd() const { return fd_; }

 private:
  Peer(pid_t child, int fd) : child_(child), fd_(fd) {}
  static void NoDelay(int fd) {
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  pid_t child_;
  int fd_;
};

// The child counts what it receives until the end and answers with the number, so that only what has arrived
// counts.
Result<double> TcpBandwidth(size_t buffer_bytes, double seconds, std::optional<int> processor) {
  PENSTOCK_ASSIGN_OR_RETURN(Peer peer, Peer::Start(processor, [buffer_bytes](int fd) {
                              std::vector<char> buffer(buffer_bytes);
                              uint64_t total = 0;
                              for (ssize_t n; (n = ::read(fd, buffer.data(), buffer.size())) > 0;)
                                total += static_cast<uint64_t>(n);
                              WriteFully(fd, reinterpret_cast<const char*>(&total), sizeof total);
                            }));
  std::vector<char> buffer(buffer_bytes, 'x');
  const auto begin = Clock::now();
  while (SecondsSince(begin) < seconds) {
    if (!WriteFully(peer.fd(), buffer.data(), buffer.size())) return ErrnoStatus(errno, "send on loopback");
  }
  ::shutdown(peer.fd(), SHUT_WR);
  uint64_t total = 0;
  if (!ReadFully(peer.fd(), reinterpret_cast<char*>(&total), sizeof total))
    return Internal("the receiving process ended early");
  return static_cast<double>(total) / SecondsSince(begin);
}

// Median of the round trips, in microseconds.
Result<double> PingPong(double seconds, bool spin, std::optional<int> processor) {
  constexpr size_t kBytes = 64;
  const int flags = spin ? MSG_DONTWAIT : 0;
  PENSTOCK_ASSIGN_OR_RETURN(
      Peer peer, Peer::Start(processor, [flags](int fd) {
        char message[kBytes];
        while (ReadFully(fd, message, kBytes, flags) && WriteFully(fd, message, kBytes)) {
        }
      }));
  char message[kBytes] = {};
  std::vector<double> trips;
  const auto begin = Clock::now();
  while (trips.empty() || SecondsSince(begin) < seconds) {
    const auto sent = Clock::now();
    if (!WriteFully(peer.fd(), message, kBytes) || !ReadFully(peer.fd(), message, kBytes, flags)) {
      return Internal("the answering process ended early");
    }
    trips.push_back(SecondsSince(sent) * 1e6);
  }
  return Spread::Of(std::move(trips)).median;
}

double MemcpyBandwidth(int repeats) {
  std::vector<char> from(64 << 20, 'a'), to(from.size(), 'b');  // touched, so that no page fault is measured
  double best = 0;
  for (int i = 0; i < repeats; ++i) {
    const auto begin = Clock::now();
    std::memcpy(to.data(), from.data(), from.size());
    best = std::max(best, static_cast<double>(from.size()) / SecondsSince(begin));
    from[static_cast<size_t>(i)] = to[from.size() - 1 - static_cast<size_t>(i)];  // the copy must be made
  }
  return best;
}

// Of pages as the kernel gives them, zeroed.
Result<double> FirstTouchBandwidth(int repeats) {
  constexpr size_t kBytes = 64 << 20;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<double> figures;
  for (int i = 0; i < repeats; ++i) {
    void* at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return Internal(std::string("64 MiB of fresh pages: ") + std::strerror(errno));
    const auto begin = Clock::now();
    for (size_t offset = 0; offset < kBytes; offset += page) static_cast<volatile char*>(at)[offset] = 1;
    figures.push_back(static_cast<double>(kBytes) / SecondsSince(begin));
    ::munmap(at, kBytes);
  }
  return Spread::Of(std::move(figures)).median;
}

std::string FirstLineAfter(const char* path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(key, 0) != 0) continue;
    const size_t colon = line.find(':');
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

}  // namespace

Result<Limit> MeasureLimit(const LimitOptions& options) {
  const int first = ProcessorAt(0), second = ProcessorAt(1);  // before this thread is pinned itself
  std::optional<int> child;
  std::optional<PinnedThread> pinned;
  const auto pin = [&] {
    child = second;
    pinned.emplace(first);
  };
  if (options.pin) pin();
  Limit limit;
  for (size_t bytes : {16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}) {
    std::vector<double> figures;
    for (int i = 0; i < options.repeats; ++i) {
      PENSTOCK_ASSIGN_OR_RETURN(const double figure, TcpBandwidth(bytes, options.seconds, child));
      figures.push_back(figure);
    }
    const Spread spread = Spread::Of(std::move(figures));
    if (spread.median <= limit.tcp_bytes_per_second) continue;
    limit.tcp = spread;
    limit.tcp_bytes_per_second = spread.median;
    limit.tcp_buffer_bytes = bytes;
  }
  for (const bool spin : {false, true}) {
    if (spin && !pinned) pin();  // two that spin on one processor only wait for each other
    std::vector<double> medians;
    for (int i = 0; i < options.repeats; ++i) {
      PENSTOCK_ASSIGN_OR_RETURN(const double median, PingPong(options.seconds, spin, child));
      medians.push_back(median);
    }
    (spin ? limit.pingpong_spin_us : limit.pingpong_us) = Spread::Of(std::move(medians));
  }
  if (!options.pin) pinned.reset();
  limit.memcpy_bytes_per_second = MemcpyBandwidth(options.repeats);
  PENSTOCK_ASSIGN_OR_RETURN(limit.first_touch_bytes_per_second, FirstTouchBandwidth(options.repeats));
  return limit;
}

nlohmann::json LimitJson(const Limit& limit) {
  return {{"tcp_bytes_per_second", limit.tcp_bytes_per_second},
          {"tcp_bytes_per_second_min", limit.tcp.min},
          {"tcp_bytes_per_second_max", limit.tcp.max},
          {"tcp_buffer_bytes", limit.tcp_buffer_bytes},
          {"pingpong_p50_us", limit.pingpong_us.median},
          {"pingpong_spin_p50_us", limit.pingpong_spin_us.median},
          {"memcpy_bytes_per_second", limit.memcpy_bytes_per_second},
          {"first_touch_bytes_per_second", limit.first_touch_bytes_per_second}};
}

nlohmann::json DescribeMachine() {
  utsname names{};
  ::uname(&names);
  return {{"processor", FirstLineAfter("/proc/cpuinfo", "model name")},
          {"cpus", std::thread::hardware_concurrency()},
          {"memory_bytes",
           static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE))},
          {"kernel", std::string(names.sysname) + " " + names.release}};
}

}  // namespace penstock
