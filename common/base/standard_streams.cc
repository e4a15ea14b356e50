#include "common/base/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>

namespace penstock {

void OpenStandardStreams() {
  // In rising order: a new file takes the lowest number that is free. Read-only, so that writes fail.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) (void)!::open("/dev/null", O_RDONLY);
  }
}

Status FlushStandardOutput() {
  errno = 0;
  std::cout.flush();
  if (std::cout.good()) return Status::Ok();
  const std::string reason = errno == 0 ? "" : std::string(": ") + std::strerror(errno);
  return FailedPrecondition("standard output could not be written" + reason);
}

}  // namespace penstock
