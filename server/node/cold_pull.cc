#include "server/node/cold_pull.h"

#include <algorithm>
#include <cstring>

namespace penstock {
namespace {
constexpr size_t kRowsAtOnce = 8192;
}

void SetResult(const Status& status, proto::GroupResult::Builder out) {
  out.setCode(static_cast<proto::Code>(status.code()));
  out.setRetryAfterMs(status.retry_after_ms());
  if (!status.ok()) out.setMessage(status.message());
}

void WriteStored(std::span<const PullPart> parts, proto::PullRequest::Reader request,
                 proto::PullResponse::Builder response) {
  if (!request.getStored()) return;
  for (size_t first = 0, end = 0; first < parts.size(); first = end) {
    const uint32_t table = parts[first].table;
    size_t rows = 0;
    for (end = first; end < parts.size() && parts[end].table == table; ++end)
      rows += parts[end].failed ? 0 : parts[end].keys.size();
    auto bits = response.getTables()[table].initStored(static_cast<uint32_t>((rows + 7) / 8));
    size_t row = 0;
    for (const PullPart& part : parts.subspan(first, end - first)) {
      if (part.failed) continue;
      for (const uint8_t stored : part.stored) {
        bits[row / 8] |= static_cast<kj::byte>(stored << row % 8);
        ++row;
      }
    }
  }
}

kj::Promise<void> ColdPull::Run() {
  const auto tables = context_.getParams().getRequest().getTables();
  size_t rows = 0, bytes = 0;
  for (const PullPart& part : parts_) {
    const size_t more = std::min(part.cold.size(), kRowsAtOnce - rows);
    rows += more;
    if (more > 0)
      bytes += more * core_.Find(part.shard, part.epoch).shard->row_bytes(tables[part.table].getTable());
  }
  auto wait = core_.cold().WaitForRows(bytes);
  if (wait.ok()) {
    wait_ = std::move(*wait);
    return Next();
  }
  for (PullPart& part : parts_) {
    if (!part.cold.empty()) Fail(part, wait.status());
  }
  Finish();
  return kj::READY_NOW;
}

kj::Promise<void> ColdPull::Next() {
  const auto tables = context_.getParams().getRequest().getTables();
  std::vector<Chunk> chunks;
  kj::Vector<kj::Promise<Status>> fetches;
  size_t rows = 0;
  for (size_t i = 0; i < parts_.size() && rows < kRowsAtOnce; ++i) {
    PullPart& part = parts_[i];
    if (part.cold.empty()) continue;
    Chunk chunk{.part = i, .keys = {}};
    const size_t count = std::min(part.cold.size(), kRowsAtOnce - rows);
    for (size_t k = 0; k < count; ++k) chunk.keys.push_back(part.keys[part.cold[k]]);
    rows += count;
    fetches.add(core_.cold().Fetch(part.shard, tables[part.table].getTable(), chunk.keys));
    chunks.push_back(std::move(chunk));
  }
  if (chunks.empty()) {
    Finish();
    return kj::READY_NOW;
  }
  return kj::joinPromises(fetches.releaseAsArray())
      .then([this, chunks = std::move(chunks)](kj::Array<Status>&& fetched) {
        for (size_t i = 0; i < chunks.size(); ++i) Take(chunks[i], fetched[i]);
        return Next();
      });
}

// Whatever is in memory by now; what is not stays cold, and is fetched again.
void ColdPull::Take(const Chunk& chunk, const Status& fetched) {
  PullPart& part = parts_[chunk.part];
  if (!fetched.ok()) return Fail(part, fetched);
  const auto found = core_.Find(part.shard, part.epoch);
  if (!found.status.ok()) return Fail(part, found.status);
  const TableId table = context_.getParams().getRequest().getTables()[part.table].getTable();
  const TableSpec* spec = found.shard->FindSpec(table);
  if (spec == nullptr) return Fail(part, Unavailable("table " + std::to_string(table) + " was dropped", 50));
  const size_t dim = spec->dim;
  fetched_.resize(chunk.keys.size() * dim);
  fetched_stored_.resize(part.stored.empty() ? 0 : chunk.keys.size());
  std::vector<uint32_t> cold;
  if (Status pulled = found.shard->PullRows(table, chunk.keys, fetched_.data(), &cold,
                                            part.stored.empty() ? nullptr : fetched_stored_.data());
      !pulled.ok())
    return Fail(part, pulled);
  std::vector<uint32_t> left;
  size_t next = 0;
  for (size_t k = 0; k < chunk.keys.size(); ++k) {
    if (next < cold.size() && cold[next] == k) {
      left.push_back(part.cold[k]);
      ++next;
    } else {
      std::memcpy(part.to + part.cold[k] * dim, fetched_.data() + k * dim, dim * sizeof(float));
      if (!part.stored.empty()) part.stored[part.cold[k]] = fetched_stored_[k];
    }
  }
  left.insert(left.end(), part.cold.begin() + static_cast<ptrdiff_t>(chunk.keys.size()), part.cold.end());
  part.cold = std::move(left);
}

void ColdPull::Fail(PullPart& part, const Status& status) {
  part.failed = true;
  part.cold.clear();
  auto result = context_.getResults().getResponse().getTables()[part.table].getGroups()[part.group];
  SetResult(status, result);
  result.setEpoch(core_.Find(part.shard, part.epoch).epoch);
}

// The values are those of the groups that are ok, one after another.
void ColdPull::Finish() {
  wait_ = nullptr;
  for (ValuesOut& table : values_) table.Finish();
  WriteStored(parts_, context_.getParams().getRequest(), context_.getResults().getResponse());
  auto tables = context_.getResults().getResponse().getTables();
  for (size_t first = 0, end = 0; first < parts_.size(); first = end) {
    const uint32_t table = parts_[first].table;
    size_t rows = 0, kept = 0;
    bool failed = false;
    for (; end < parts_.size() && parts_[end].table == table; ++end) {
      rows += parts_[end].keys.size();
      failed |= parts_[end].failed;
    }
    if (!failed) continue;
    auto values = tables[table].disownValues();
    const size_t row_bytes = values.get().size() / rows;
    kj::byte* from = values.get().begin();
    for (size_t i = first; i < end; ++i) {
      const size_t bytes = parts_[i].keys.size() * row_bytes;
      if (!parts_[i].failed) {
        std::memmove(values.get().begin() + kept, from, bytes);
        kept += bytes;
      }
      from += bytes;
    }
    if (kept == 0) continue;
    values.truncate(static_cast<uint32_t>(kept));
    tables[table].adoptValues(kj::mv(values));
  }
}

}  // namespace penstock
