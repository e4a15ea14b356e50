#include "tools/cli/events.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <thread>

#include "client/admin.h"
#include "common/base/strings.h"
#include "tools/cli/exit_code.h"
#include "tools/cli/follow.h"
#include "tools/cli/print.h"

namespace penstock {
namespace {

using nlohmann::json;

constexpr auto kLookEvery = std::chrono::milliseconds(500);
constexpr size_t kKindWidth = 10;

std::string TimeText(int64_t at_ms) {
  if (at_ms == 0) return "-";
  const auto seconds = static_cast<std::time_t>(at_ms / 1000);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  char text[32];
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
  return std::string(text, length);
}

std::string Lines(const json& events) {
  std::string text;
  for (const json& event : events)
    StrAppend(&text, event.dump(-1, ' ', false, json::error_handler_t::replace), "\n");
  return text;
}

}  // namespace

std::string EventsText(const json& events) {
  std::string text;
  for (const json& event : events) {
    std::string kind = event.value("kind", "?");
    kind.resize(std::max(kind.size(), kKindWidth), ' ');
    StrAppend(&text, TimeText(event.value("at_ms", int64_t{0})), "  ", kind, " ",
              FormatText(event.value("text", "")), "\n");
  }
  return text;
}

Result<int> ShowEvents(Client& client, const Arguments& arguments, Console& console) {
  const bool as_json = arguments.output == OutputFormat::kJson;
  uint64_t after = arguments.after;
  bool away = false;
  for (;;) {
    const auto events = Admin(client).Inspect("events", std::to_string(after));
    if (!events.ok() && !(arguments.follow && Passes(events.status()))) return events.status();
    if (away != !events.ok()) {
      away = !away;
      console.err << "penstock: " << (away ? events.status().message() : "the scheduler answers again")
                  << std::endl;
    }
    if (events.ok()) {
      if (!events->empty()) after = events->back().value("number", after);
      console.out << (!as_json           ? EventsText(*events)
                      : arguments.follow ? Lines(*events)
                                         : RenderJson(*events));
      console.out.flush();
    }
    if (!arguments.follow) return kExitOk;
    std::this_thread::sleep_for(kLookEvery);
  }
}

}  // namespace penstock
