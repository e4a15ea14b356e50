#include "client/caller.h"

namespace penstock {
namespace {

Status CheckRange(const char* name, uint64_t value, uint64_t low, uint64_t high) {
  if (value >= low && value <= high) return Status::Ok();
  return InvalidArgument(std::string("client option ") + name + " is " + std::to_string(value) +
                         ", allowed is " + std::to_string(low) + " to " + std::to_string(high));
}

Status Validate(const ClientOptions& o) {
  if (o.scheduler.empty())
    return InvalidArgument(
        "client option scheduler is empty, allowed is host:port or the path of an address file");
  PENSTOCK_RETURN_IF_ERROR(CheckPeerName(o.name).Prepend("client option name"));
  if (!o.token.empty() && !o.token_file.empty())
    return InvalidArgument("client options token and token_file are both set, allowed is one");
  PENSTOCK_RETURN_IF_ERROR(CheckRange("deadline_ms", o.deadline_ms, 1, 86400000));
  PENSTOCK_RETURN_IF_ERROR(CheckRange("connect_timeout_ms", o.connect_timeout_ms, 1, 600000));
  PENSTOCK_RETURN_IF_ERROR(CheckRange("attempt_timeout_ms", o.attempt_timeout_ms, 1, 600000));
  PENSTOCK_RETURN_IF_ERROR(CheckRange("max_unit_bytes", o.max_unit_bytes, 1 << 10, 64 << 20));
  PENSTOCK_RETURN_IF_ERROR(CheckRange("piece_bytes", o.piece_bytes, 4 << 10, 64 << 20));
  PENSTOCK_RETURN_IF_ERROR(CheckRange("max_inflight_bytes", o.max_inflight_bytes, 1, uint64_t{1} << 40));
  return CheckRange("spin_us", o.spin_us, 0, 100'000);
}

}  // namespace

Caller::Caller(const ClientOptions& options, std::string token)
    : options_(options),
      identity_(std::make_shared<ClusterIdentity>()),
      loop_(options.name, options.spin_us) {
  identity_->name = options.name;
  identity_->token = std::move(token);
  loop_.Run([this] { core_ = std::make_unique<ClientCore>(loop_, identity_, options_); });
}

Caller::~Caller() {
  // What was posted after this finds no core; its completions say so.
  loop_.Run([this] { core_.reset(); });
  loop_.Stop();
}

Result<std::unique_ptr<Caller>> Caller::Connect(const ClientOptions& options) {
  PENSTOCK_RETURN_IF_ERROR(Validate(options));
  std::string token = options.token;
  if (!options.token_file.empty()) {
    PENSTOCK_ASSIGN_OR_RETURN(token, ReadTokenFile(options.token_file));
  }
  std::unique_ptr<Caller> caller(new Caller(options, std::move(token)));
  const uint64_t ms = options.connect_timeout_ms;
  const auto loaded = caller->Await<bool>("connect", [ms](ClientCore& core, Completion<bool> done) {
    core.Spawn("connect", core.LoadMap(ms), std::move(done));
  });
  if (!loaded.ok()) return loaded.status().Prepend("connect to the cluster");
  return caller;
}

void Caller::Pull(const std::vector<BatchTable>& tables, PullPlaces out, uint64_t deadline_ms,
                  Completion<bool> done) {
  auto batch = BucketPull(tables, *layout(), limits());
  if (!batch.ok()) return done(batch.status().Prepend("pull"));
  Post(std::move(done), [batch = std::move(*batch), out = std::move(out), ms = Deadline(deadline_ms)](
                            ClientCore& core, Completion<bool> done) mutable {
    core.Pull(std::move(batch), std::move(out), ms, std::move(done));
  });
}

void Caller::Attach(std::weak_ptr<Producer> producer) {
  loop_.Post([this, producer = std::move(producer)] {
    if (core_ != nullptr) core_->Attach(producer);
  });
}

void Caller::Learn(const TableSpec& spec) {
  std::lock_guard lock(mutex_);
  tables_[spec.id] = {spec.name, spec.dim, spec.optimizer.kind, spec.codec};
}

void Caller::Forget(const std::string& name) {
  std::lock_guard lock(mutex_);
  std::erase_if(tables_, [&](const auto& table) { return table.second.name == name; });
}

Status Caller::Known(TableId id) const {
  std::lock_guard lock(mutex_);
  return tables_.contains(id) ? Status::Ok() : Unknown(id);
}

Status Caller::Unknown(TableId id) {
  return InvalidArgument("table " + std::to_string(id) + " was neither created nor opened by this client");
}

}  // namespace penstock
