// The list of armed fault points and the parser of their specifications.
#include "common/base/fault.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <vector>

namespace penstock {
namespace {

struct Point {
  uint64_t hits = 0;
  std::shared_ptr<const FaultCallback> callback;  // nullptr: only counted
};

struct Points {
  std::mutex mutex;
  std::map<std::string, Point, std::less<>> by_name;  // guarded by mutex
};

Points& AllPoints() {
  static auto* points = new Points;  // never destroyed: a thread may hit a point while the process ends
  return *points;
}

template <typename T>
bool ParseNumber(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

std::optional<int> ParseErrno(std::string_view name) {
  static constexpr std::pair<std::string_view, int> kNames[] = {
      {"ENOSPC", ENOSPC},      {"EIO", EIO},       {"EDQUOT", EDQUOT},
      {"EACCES", EACCES},      {"EPERM", EPERM},   {"EROFS", EROFS},
      {"ENOENT", ENOENT},      {"ENOMEM", ENOMEM}, {"ECONNRESET", ECONNRESET},
      {"ETIMEDOUT", ETIMEDOUT}};
  for (const auto& [known, value] : kNames) {
    if (name == known) return value;
  }
  int number = 0;
  if (ParseNumber(name, &number) && number > 0) return number;
  return std::nullopt;
}

// At which hits an armed point acts.
using When = std::function<bool(uint64_t hit)>;

Result<When> ParseWhen(std::string_view text, uint64_t seed) {
  if (text.empty()) return When([](uint64_t) { return true; });
  const std::string_view value = text.substr(1);
  if (text[0] == '@') {
    uint64_t nth = 0;
    if (!ParseNumber(value, &nth) || nth == 0) {
      return InvalidArgument("'" + std::string(text) + "' is no hit: @N with N from 1");
    }
    return When([nth](uint64_t hit) { return hit == nth; });
  }
  double probability = 0;
  if (!ParseNumber(value, &probability) || !(probability > 0 && probability <= 1)) {
    return InvalidArgument("'" + std::string(text) + "' is no probability: %P with P above 0 and at most 1");
  }
  // Calls come under the lock of nobody, so that the generator needs one of its own.
  struct Draws {
    explicit Draws(uint64_t seed) : random(seed) {}
    std::mutex mutex;
    std::mt19937_64 random;
  };
  auto draws = std::make_shared<Draws>(seed);
  return When([draws, probability](uint64_t) {
    std::lock_guard lock(draws->mutex);
    return std::bernoulli_distribution(probability)(draws->random);
  });
}

Result<FaultCallback> ParseAction(const std::string& name, std::string_view action, const When& when) {
  if (action == "kill") {
    return FaultCallback([when](uint64_t hit) {
      if (when(hit)) kill(getpid(), SIGKILL);
      return Status::Ok();
    });
  }
  constexpr std::string_view kError = "error:";
  if (action.starts_with(kError)) {
    const std::optional<int> error = ParseErrno(action.substr(kError.size()));
    if (!error)
      return InvalidArgument("'" + std::string(action.substr(kError.size())) +
                             "' is no error: ENOSPC, EIO, ... or a number");
    return FaultCallback([when, name, error = *error](uint64_t hit) {
      return when(hit) ? ErrnoStatus(error, "fault point " + name) : Status::Ok();
    });
  }
  constexpr std::string_view kDelay = "delay:";
  if (action.starts_with(kDelay)) {
    uint32_t ms = 0;
    if (!ParseNumber(action.substr(kDelay.size()), &ms))
      return InvalidArgument("'" + std::string(action.substr(kDelay.size())) +
                             "' is no number of milliseconds");
    return FaultCallback([when, ms](uint64_t hit) {
      if (when(hit)) std::this_thread::sleep_for(std::chrono::milliseconds(ms));
      return Status::Ok();
    });
  }
  return InvalidArgument("'" + std::string(action) + "' is no action: kill, error:ERRNO or delay:MS");
}

struct ParsedFault {
  std::string name;
  FaultCallback callback;
};

Result<ParsedFault> ParseFault(std::string_view text, uint64_t seed) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) return InvalidArgument("it is not NAME=ACTION[@N|%P]");
  std::string name(text.substr(0, equals));
  const std::string_view rest = text.substr(equals + 1);
  const size_t action_end = std::min(rest.find_first_of("@%"), rest.size());
  PENSTOCK_ASSIGN_OR_RETURN(const When when,
                            ParseWhen(rest.substr(action_end), seed ^ std::hash<std::string>()(name)));
  PENSTOCK_ASSIGN_OR_RETURN(FaultCallback callback, ParseAction(name, rest.substr(0, action_end), when));
  return ParsedFault{std::move(name), std::move(callback)};
}

}  // namespace

namespace fault_internal {

Status Hit(const char* name) {
  std::shared_ptr<const FaultCallback> callback;
  uint64_t hit = 0;
  {
    Points& points = AllPoints();
    std::lock_guard lock(points.mutex);
    Point& point = points.by_name[name];
    hit = ++point.hits;
    callback = point.callback;
  }
  return callback ? (*callback)(hit) : Status::Ok();
}

bool Armed(const char* name) {
  Points& points = AllPoints();
  std::lock_guard lock(points.mutex);
  const auto it = points.by_name.find(std::string_view(name));
  return it != points.by_name.end() && it->second.callback != nullptr;
}

}  // namespace fault_internal

void ArmFault(std::string name, FaultCallback callback) {
  Points& points = AllPoints();
  std::lock_guard lock(points.mutex);
  points.by_name[std::move(name)].callback = std::make_shared<const FaultCallback>(std::move(callback));
  fault_internal::any_armed = true;
}

Status ArmFaults(std::string_view specification, uint64_t seed) {
  std::vector<ParsedFault> faults;
  while (!specification.empty()) {
    const size_t comma = std::min(specification.find(','), specification.size());
    const std::string_view part = specification.substr(0, comma);
    specification.remove_prefix(std::min(comma + 1, specification.size()));
    auto fault = ParseFault(part, seed);
    if (!fault.ok()) return fault.status().Prepend("fault point '" + std::string(part) + "'");
    faults.push_back(std::move(*fault));
  }
  for (ParsedFault& fault : faults) ArmFault(std::move(fault.name), std::move(fault.callback));
  return Status::Ok();
}

Status ArmFaultsFromEnvironment() {
  const char* specification = std::getenv("PENSTOCK_FAULT_POINTS");
  if (specification == nullptr) return Status::Ok();
  uint64_t seed = 1;
  const char* seed_text = std::getenv("PENSTOCK_FAULT_SEED");
  if (seed_text != nullptr && !ParseNumber(std::string_view(seed_text), &seed)) {
    return InvalidArgument("PENSTOCK_FAULT_SEED is '" + std::string(seed_text) +
                           "', it must be a number from 0");
  }
  return ArmFaults(specification, seed).Prepend("PENSTOCK_FAULT_POINTS");
}

void DisarmAll() {
  Points& points = AllPoints();
  std::lock_guard lock(points.mutex);
  fault_internal::any_armed = false;
  points.by_name.clear();
}

uint64_t FaultHits(std::string_view name) {
  Points& points = AllPoints();
  std::lock_guard lock(points.mutex);
  const auto it = points.by_name.find(name);
  return it == points.by_name.end() ? 0 : it->second.hits;
}

}  // namespace penstock
