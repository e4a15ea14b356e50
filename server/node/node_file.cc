#include "server/node/node_file.h"

#include <nlohmann/json.hpp>

#include "common/base/atomic_file.h"
#include "common/base/crc32c.h"

namespace penstock {
namespace {
constexpr int kVersion = 1;
constexpr auto kSaveVersionEvery = std::chrono::seconds(5);
}  // namespace

Result<NodeState> NodeFile::Load() const {
  auto text = ReadWholeFile(path_);
  if (text.status().code() == Code::kNotFound) return NodeState{};
  if (!text.ok()) return text.status();
  try {
    // Two lines: the checksum of the second, and the state.
    const size_t newline = text->find('\n');
    if (newline == std::string::npos)
      return DataLoss("node file " + path_ + " is damaged: it has no second line");
    const std::string body = text->substr(newline + 1);
    const auto json = nlohmann::json::parse(body);
    if (std::stoul(text->substr(0, newline)) != Crc32c(0, body.data(), body.size())) {
      return DataLoss("node file " + path_ + " is damaged: its checksum does not match");
    }
    if (json.at("version").get<int>() != kVersion) {
      return FailedPrecondition("node file " + path_ + " has version " + json.at("version").dump() +
                                ", this program knows 1");
    }
    NodeState state;
    json.at("cluster").get_to(state.cluster);
    json.at("node").get_to(state.node);
    json.at("term").get_to(state.term);
    json.at("map_version").get_to(state.map_version);
    state.copied = json.value("copied", false);
    state.suspect = json.value("suspect", false);
    state.replay_speed = json.value("replay_speed", uint64_t{0});
    json.at("table_version").get_to(state.table_version);
    for (const auto& table : json.at("tables")) {
      auto spec = table.get<TableSpec>();
      state.tables[spec.id] = spec;
    }
    return state;
  } catch (const std::exception& e) {
    return DataLoss("node file " + path_ + " is damaged: " + e.what());
  }
}

Status NodeFile::SaveVersion(const NodeState& state) {
  const bool due = std::chrono::steady_clock::now() - saved_at_ >= kSaveVersionEvery;
  return due && state.map_version != saved_version_ ? Save(state) : Status::Ok();
}

Status NodeFile::Save(const NodeState& state) {
  saved_at_ = std::chrono::steady_clock::now();
  nlohmann::json json = {{"version", kVersion},
                         {"cluster", state.cluster},
                         {"node", state.node},
                         {"term", state.term},
                         {"map_version", state.map_version},
                         {"copied", state.copied},
                         {"suspect", state.suspect},
                         {"replay_speed", state.replay_speed},
                         {"table_version", state.table_version},
                         {"tables", nlohmann::json::array()}};
  for (const auto& [id, spec] : state.tables) json["tables"].push_back(spec);
  const std::string body = json.dump();
  failure_ = WriteFileAtomically(path_, std::to_string(Crc32c(0, body.data(), body.size())) + "\n" + body);
  if (failure_.ok()) saved_version_ = state.map_version;
  return failure_;
}

}  // namespace penstock
