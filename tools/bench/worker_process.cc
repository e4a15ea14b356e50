#include "tools/bench/worker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

namespace penstock {

constexpr int kLookMs = 50;

Result<WorkerProcess> WorkerProcess::Start() {
  int orders[2], answers[2];
  if (::pipe2(orders, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  if (::pipe2(answers, O_CLOEXEC) != 0) {
    const int error = errno;
    for (const int fd : orders) ::close(fd);
    return ErrnoStatus(error, "pipe");
  }
  auto child = ChildProcess::Spawn({"/proc/self/exe", "bench", "worker"},
                                   {.in = orders[0], .out = answers[1], .err = STDERR_FILENO});
  ::close(orders[0]);
  ::close(answers[1]);
  if (child.ok()) return WorkerProcess(std::move(*child), orders[1], answers[0]);
  ::close(orders[1]);
  ::close(answers[0]);
  return child.status();
}

WorkerProcess::WorkerProcess(WorkerProcess&& other) noexcept
    : child_(std::move(other.child_)),
      in_(std::exchange(other.in_, -1)),
      out_(std::exchange(other.out_, -1)),
      received_(std::move(other.received_)) {}

WorkerProcess::~WorkerProcess() {
  if (in_ >= 0) ::close(in_);
  if (out_ >= 0) ::close(out_);
}

Status WorkerProcess::Send(const nlohmann::json& order) {
  const std::string line = order.dump() + "\n";
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t n = ::write(in_, line.data() + sent, line.size() - sent);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "bench worker");
    sent += static_cast<size_t>(n);
  }
  return Status::Ok();
}

Result<nlohmann::json> WorkerProcess::Receive(const std::function<bool()>& interrupted) {
  size_t end;
  while ((end = received_.find('\n')) == std::string::npos) {
    if (interrupted()) return Cancelled("interrupted");
    pollfd wait{.fd = out_, .events = POLLIN, .revents = 0};
    if (::poll(&wait, 1, kLookMs) <= 0) continue;
    char buffer[16384];
    const ssize_t n = ::read(out_, buffer, sizeof buffer);
    if (n == 0) return Internal("a worker process of the benchmark ended early");
    if (n > 0) received_.append(buffer, static_cast<size_t>(n));
  }
  const auto answer = nlohmann::json::parse(received_.substr(0, end), nullptr, false);
  received_.erase(0, end + 1);
  if (!answer.is_object()) return Internal("a worker process of the benchmark answered with no JSON");
  const auto error = answer.find("error");
  if (error == answer.end()) return answer;
  return Status(static_cast<Code>(error->value("code", static_cast<uint16_t>(Code::kInternal))),
                error->value("message", ""));
}

}  // namespace penstock
