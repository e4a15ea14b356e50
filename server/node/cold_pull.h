// ColdPull: the rest of a pull that met cold rows: fetches them some at a time, copies what has come into the
// answer, and leaves out groups that can no longer be answered.
//
// Lives on the core's loop as long as its call does.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "proto/data.capnp.h"
#include "server/node/core.h"
#include "server/node/wire_values.h"

namespace penstock {

void SetResult(const Status& status, proto::GroupResult::Builder out);

// One group of a pull that is answered with values.
struct PullPart {
  uint32_t table = 0, group = 0;  // in the call
  ShardId shard = 0;
  Epoch epoch = 0;
  std::span<const Key> keys;
  float* to = nullptr;          // the group's place among the values
  std::vector<uint32_t> cold;   // keys whose values are not there yet
  std::vector<uint8_t> stored;  // of each key, where the call asks: as Shard::PullRows says
  bool failed = false;
};

// The answer's bitmaps of stored rows, where the call asks: of the parts that have not failed. `parts`: in
// the order of the answer.
void WriteStored(std::span<const PullPart> parts, proto::PullRequest::Reader request,
                 proto::PullResponse::Builder response);

class ColdPull {
 public:
  using Context = capnp::CallContext<proto::DataPlane::PullParams, proto::DataPlane::PullResults>;
  // `parts`: in the order of the answer, with and without cold rows. `values`: where they are written to.
  ColdPull(ServerCore& core, Context context, std::vector<PullPart> parts, std::vector<ValuesOut> values)
      : core_(core), context_(context), parts_(std::move(parts)), values_(std::move(values)) {}
  // Resolves when the answer is whole. Groups fail alone: kOverloaded when too much waits already, what Find
  // says when the shard is no longer served, or why the base could not be read.
  kj::Promise<void> Run();

 private:
  struct Chunk {
    size_t part = 0;
    std::vector<Key> keys;
  };

  kj::Promise<void> Next();
  void Take(const Chunk& chunk, const Status& fetched);
  void Fail(PullPart& part, const Status& status);
  void Finish();

  ServerCore& core_;
  Context context_;
  std::vector<PullPart> parts_;
  kj::Own<ColdFetch::ColdWait> wait_;
  std::vector<ValuesOut> values_;
  std::vector<float> fetched_;  // scratch
  std::vector<uint8_t> fetched_stored_;
};

}  // namespace penstock
