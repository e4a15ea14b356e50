#include "server/node/node_file.h"

#include <glog/logging.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "common/base/atomic_file.h"
#include "common/base/crc32c.h"
#include "common/base/fault.h"

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

NodeFile::~NodeFile() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Status NodeFile::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

Status NodeFile::Save(const NodeState& state) {
  std::lock_guard writing(writing_);
  {
    std::lock_guard lock(mutex_);
    wanted_.reset();
  }
  return Write(state);
}

void NodeFile::SaveSoon(const NodeState& state) {
  std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  const bool newer = state.map_version != asked_version_ || state.copied != asked_copied_;
  const bool at_once = state.copied != asked_copied_;
  if (failure_.ok() && !newer) return;
  if (!(failure_.ok() && at_once) && now - asked_at_ < kSaveVersionEvery) return;
  wanted_ = state;
  asked_version_ = state.map_version;
  asked_copied_ = state.copied;
  asked_at_ = now;
  if (!thread_.joinable()) thread_ = std::thread([this] { Main(); });
  wake_.notify_all();
}

void NodeFile::Main() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || wanted_; });
      if (stopping_) return;
    }
    std::lock_guard writing(writing_);
    std::optional<NodeState> state;
    {
      std::lock_guard lock(mutex_);
      state = std::exchange(wanted_, std::nullopt);
    }
    if (!state) continue;  // Save was faster
    const Status written = Write(*state);
    if (!written.ok()) LOG(WARNING) << "node file: " << written.ToString();
  }
}

Status NodeFile::Write(const NodeState& state) {
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
  Status written = PENSTOCK_FAULT("node_file.write");
  if (written.ok())
    written = WriteFileAtomically(path_, std::to_string(Crc32c(0, body.data(), body.size())) + "\n" + body);
  std::lock_guard lock(mutex_);
  failure_ = written;
  return written;
}

}  // namespace penstock
