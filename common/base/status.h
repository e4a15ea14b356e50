// Status and Result: how every fallible call in Penstock reports what went wrong.
//
// Codes are chosen by what the caller should do about them, and are the same on the wire
// (proto/common.capnp): keep the two lists in the same order.
// Context is prepended on the way up: status.Prepend("open table 'user'") gives
// "open table 'user': shard 17 on server-2: connection refused".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace penstock {

enum class Code : uint16_t {
  kOk = 0,
  kInvalidArgument = 1,    // the request is wrong: give up and mend it
  kNotFound = 2,           // the named thing does not exist
  kAlreadyExists = 3,      // the name is taken by something different
  kPermissionDenied = 4,   // wrong token, wrong cluster, wrong version: give up
  kUnavailable = 5,        // the peer cannot be reached or is not ready: retry after retry_after_ms
  kWrongEpoch = 6,         // refresh the shard map, then re-send
  kOverloaded = 7,         // a limit was reached and nothing was applied: back off retry_after_ms
  kNotEnoughCopies = 8,    // too few copies in sync, nothing was applied: retry after retry_after_ms
  kUnknownProducer = 9,    // the producer id was forgotten or finished: ask for a new one
  kDeadlineExceeded = 10,  // time ran out; the request had no effect
  kOutcomeUnknown = 11,    // time ran out; the push may or may not have been applied
  kDataLoss = 12,          // stored data is damaged or missing: an operator must act
  kFailedPrecondition =
      13,           // the state forbids it now: an operator or the caller must change something first
  kCancelled = 14,  // the owner is shutting down, the caller gave up, or its lease was taken away: stop
  kInternal = 15,   // a broken invariant or an unexpected error of a library
};

// "invalid argument", "wrong epoch", ...
std::string_view CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message, uint32_t retry_after_ms = 0)
      : code_(code), retry_after_ms_(retry_after_ms), message_(std::move(message)) {}

  static Status Ok() { return {}; }
  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  uint32_t retry_after_ms() const { return retry_after_ms_; }

  // The same status with "context: " in front of its message. Ok stays Ok.
  Status Prepend(std::string_view context) const;
  // "ok" or "not found: table 'user'"
  std::string ToString() const;

 private:
  Code code_ = Code::kOk;
  uint32_t retry_after_ms_ = 0;
  std::string message_;
};

inline Status InvalidArgument(std::string m) { return {Code::kInvalidArgument, std::move(m)}; }
inline Status NotFound(std::string m) { return {Code::kNotFound, std::move(m)}; }
inline Status AlreadyExists(std::string m) { return {Code::kAlreadyExists, std::move(m)}; }
inline Status PermissionDenied(std::string m) { return {Code::kPermissionDenied, std::move(m)}; }
inline Status Unavailable(std::string m, uint32_t retry_after_ms = 100) {
  return {Code::kUnavailable, std::move(m), retry_after_ms};
}
inline Status WrongEpoch(std::string m) { return {Code::kWrongEpoch, std::move(m)}; }
inline Status Overloaded(std::string m, uint32_t retry_after_ms = 50) {
  return {Code::kOverloaded, std::move(m), retry_after_ms};
}
inline Status UnknownProducer(std::string m) { return {Code::kUnknownProducer, std::move(m)}; }
inline Status DeadlineExceeded(std::string m) { return {Code::kDeadlineExceeded, std::move(m)}; }
inline Status OutcomeUnknown(std::string m) { return {Code::kOutcomeUnknown, std::move(m)}; }
inline Status DataLoss(std::string m) { return {Code::kDataLoss, std::move(m)}; }
inline Status FailedPrecondition(std::string m) { return {Code::kFailedPrecondition, std::move(m)}; }
inline Status Cancelled(std::string m) { return {Code::kCancelled, std::move(m)}; }
inline Status Internal(std::string m) { return {Code::kInternal, std::move(m)}; }
// "<what>: <strerror(error)>"; ENOSPC and EDQUOT become kOverloaded, ENOENT kNotFound, EACCES and EROFS
// kPermissionDenied, the rest kInternal.
Status ErrnoStatus(int error, std::string what);

// A value or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}         // NOLINT: implicit on purpose
  Result(Status status) : state_(std::move(status)) {}  // NOLINT: implicit on purpose

  bool ok() const { return std::holds_alternative<T>(state_); }
  Status status() const { return ok() ? Status() : std::get<Status>(state_); }
  T& value() & { return std::get<T>(state_); }
  const T& value() const& { return std::get<T>(state_); }
  T&& value() && { return std::get<T>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Status> state_;
};

#define PENSTOCK_CONCAT_(a, b) a##b
#define PENSTOCK_CONCAT(a, b) PENSTOCK_CONCAT_(a, b)
#define PENSTOCK_RETURN_IF_ERROR(expr)                                      \
  do {                                                                      \
    if (::penstock::Status status_ = (expr); !status_.ok()) return status_; \
  } while (false)
#define PENSTOCK_ASSIGN_OR_RETURN(lhs, expr) \
  PENSTOCK_ASSIGN_OR_RETURN_(PENSTOCK_CONCAT(result_, __LINE__), lhs, expr)
#define PENSTOCK_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                               \
  if (!tmp.ok()) return tmp.status();              \
  lhs = std::move(tmp).value()

}  // namespace penstock
