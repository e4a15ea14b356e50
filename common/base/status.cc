#include "common/base/status.h"

#include <cerrno>
#include <cstring>

namespace penstock {

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kOk:
      return "ok";
    case Code::kInvalidArgument:
      return "invalid argument";
    case Code::kNotFound:
      return "not found";
    case Code::kAlreadyExists:
      return "already exists";
    case Code::kPermissionDenied:
      return "permission denied";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kWrongEpoch:
      return "wrong epoch";
    case Code::kOverloaded:
      return "overloaded";
    case Code::kNotEnoughCopies:
      return "not enough copies";
    case Code::kUnknownProducer:
      return "unknown producer";
    case Code::kDeadlineExceeded:
      return "deadline exceeded";
    case Code::kOutcomeUnknown:
      return "outcome unknown";
    case Code::kDataLoss:
      return "data loss";
    case Code::kFailedPrecondition:
      return "failed precondition";
    case Code::kCancelled:
      return "cancelled";
    case Code::kInternal:
      return "internal error";
  }
  return "unknown code";
}

Status Status::Prepend(std::string_view context) const {
  if (ok()) return *this;
  return Status(code_, std::string(context) + ": " + message_, retry_after_ms_);
}

std::string Status::ToString() const {
  if (ok()) return "ok";
  return std::string(CodeName(code_)) + ": " + message_;
}

Status ErrnoStatus(int error, std::string what) {
  std::string message = std::move(what) + ": " + std::strerror(error);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return Overloaded(std::move(message), 1000);
    case ENOENT:
      return NotFound(std::move(message));
    case EACCES:
    case EPERM:
    case EROFS:
      return PermissionDenied(std::move(message));
    default:
      return Internal(std::move(message));
  }
}

}  // namespace penstock
