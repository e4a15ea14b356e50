#include "scheduler/state/command.h"

namespace penstock {
namespace {

// Tries the alternatives of the variant until one has the name.
template <size_t I = 0>
bool Decode(const std::string& type, const nlohmann::json& json, Command* out) {
  if constexpr (I < std::variant_size_v<Command>) {
    using T = std::variant_alternative_t<I, Command>;
    if (type != T::kName) return Decode<I + 1>(type, json, out);
    *out = json.get<T>();
    return true;
  }
  return false;
}

}  // namespace

const char* CommandName(const Command& command) {
  return std::visit([](const auto& c) { return std::decay_t<decltype(c)>::kName; }, command);
}

nlohmann::json CommandToJson(const Command& command, int64_t made_ms) {
  nlohmann::json json = std::visit([](const auto& c) { return nlohmann::json(c); }, command);
  json["v"] = kCommandVersion;
  json["type"] = CommandName(command);
  if (made_ms != 0) json["made_ms"] = made_ms;
  return json;
}

Result<Command> CommandFromJson(const nlohmann::json& json, int64_t* made_ms) {
  try {
    const int version = json.at("v").get<int>();
    const std::string type = json.at("type").get<std::string>();
    Command command;
    if (version != kCommandVersion) {
      return FailedPrecondition("command '" + type + "' has version " + std::to_string(version) +
                                ", this program knows version " + std::to_string(kCommandVersion));
    }
    if (!Decode(type, json, &command))
      return FailedPrecondition("command '" + type + "' is not known to this program");
    if (made_ms != nullptr) *made_ms = json.value("made_ms", int64_t{0});
    return command;
  } catch (const std::exception& e) {
    return DataLoss(std::string("not a command: ") + e.what());
  }
}

}  // namespace penstock
