#include "tools/bench/metrics_page.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "common/base/atomic_file.h"

namespace penstock {
namespace {

// What the peer sends until it closes.
Result<std::string> Exchange(const sockaddr_in& to, const std::string& request) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus(errno, "socket");
  std::string page;
  Status status;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 ||
      ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
    status = Unavailable(ErrnoStatus(errno, "metrics").message());
  } else {
    char part[4096];
    for (ssize_t n; (n = ::recv(fd, part, sizeof part, 0)) > 0;) page.append(part, static_cast<size_t>(n));
  }
  ::close(fd);
  if (!status.ok()) return status;
  return page;
}

}  // namespace

Result<double> ReadMetric(const std::string& address_file, const std::string& metric) {
  PENSTOCK_ASSIGN_OR_RETURN(const std::string address, ReadWholeFile(address_file));
  const size_t colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  if (colon == std::string::npos || ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr) != 1)
    return Unavailable(address_file + " holds no address of IPv4: '" + address + "'");
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  auto page = Exchange(to, "GET /metrics HTTP/1.1\r\nHost: penstock\r\nConnection: close\r\n\r\n");
  if (!page.ok()) return page.status().Prepend(address_file);
  const size_t line = page->find("\n" + metric + " ");
  if (line == std::string::npos) return NotFound(metric + " is no metric of " + address_file);
  return std::strtod(page->c_str() + line + metric.size() + 2, nullptr);
}

}  // namespace penstock
