#include "tests/sim/sim_faults.h"

#include <algorithm>
#include <cerrno>

#include "tests/sim/sim_cluster.h"

namespace penstock::sim {

SimFaults::SimFaults(SimCluster& cluster, uint64_t from_ms, uint64_t to_ms)
    : cluster_(cluster), world_(cluster.world) {
  const uint64_t faults = world_.Between(3, 6);
  for (uint64_t i = 0; i < faults; ++i) Plan(world_.Between(from_ms, to_ms));
  // One just behind a step.
  world_.After(world_.Between(from_ms, to_ms) * 1000, [this] {
    trap_ = static_cast<Step>(world_.Between(1, static_cast<uint64_t>(Step::kCount) - 1));
    trap_skips_ = world_.Pick(3);
  });
}

void SimFaults::Plan(uint64_t at_ms) {
  world_.After(at_ms * 1000, [this] { Inject(static_cast<Endpoint>(~0u)); });
}

void SimFaults::OnReached(Step step, Endpoint process) {
  if (isolated_ != nullptr && step == Step::kDeltaTaken && process != isolated_->self())
    world_.After(0, [this, process] { EndIsolated(ServerAt(process)); });
  if (trap_ != step || healed_) return;
  if (trap_skips_ > 0) {
    --trap_skips_;
    return;
  }
  trap_ = Step::kNone;
  // Before whatever is to follow, and not inside what has just happened.
  world_.After(0, [this, process] { Inject(process); });
}

SimServer* SimFaults::ServerAt(Endpoint process) {
  for (const auto& server : cluster_.servers()) {
    if (server->self() == process) return server.get();
  }
  return nullptr;
}

void SimFaults::Interrupt(Endpoint process) {
  if (process == cluster_.scheduler.self()) return cluster_.truth.InterruptCourses(0);
  const SimServer* server = ServerAt(process);
  if (server != nullptr && server->node() != 0) cluster_.truth.InterruptCourses(server->node());
}

void SimFaults::Inject(Endpoint where) {
  if (healed_) return;
  ++count_;
  const auto& servers = cluster_.servers();
  SimServer* server = ServerAt(where);
  const uint64_t kind = world_.Pick(10);
  for (size_t i = 0; i < cluster_.workers().size(); ++i) {
    if (where == cluster_.workers()[i]->self()) return EndWorker(i);
  }
  if (server == nullptr && where != cluster_.scheduler.self() && kind <= 1)
    return EndWorker(world_.Pick(cluster_.workers().size()));
  if (where == cluster_.scheduler.self() || (server == nullptr && kind <= 3)) return EndScheduler();
  if (server == nullptr) server = servers[world_.Pick(servers.size())].get();
  InjectInto(*server);
}

void SimFaults::InjectInto(SimServer& server) {
  if (!server.up()) return;
  if (cluster_.options().isolation) return Isolate(server);
  if (cluster_.options().losses) return EndServer(server, true);
  switch (world_.Pick(13)) {
    case 0:
    case 1:
    case 2:
      return EndServer(server, false);
    case 3:
    case 4:
      return EndServer(server, true);
    case 5:
    case 6:
      return Pause(server.self());
    case 7:
    case 8:
      return CutLinks(server.self());
    case 9:
      return BreakDisk(server);
    case 10:
    case 11:
      return Isolate(server);
    default:
      return cluster_.options().damage ? DamageDisk(server) : EndServer(server, false);
  }
}

void SimFaults::EndServer(SimServer& server, bool power) {
  Interrupt(server.self());
  server.End(power);
  // Sometimes with others, of which nobody may be left.
  if (world_.OneIn(6)) {
    for (const auto& other : cluster_.servers()) {
      if (other->up() && world_.OneIn(2)) EndServer(*other, power);
    }
  }
  StartLater(server, world_.Between(50, world_.OneIn(3) ? 5500 : 800));
}

void SimFaults::StartLater(SimServer& server, uint64_t ms) {
  world_.After(ms * 1000, [&server] {
    if (!server.up()) server.Start();
  });
}

void SimFaults::EndScheduler() {
  SimScheduler& scheduler = cluster_.scheduler;
  if (world_.OneIn(5)) {
    world_.Note(scheduler.self(), "its journal is full");
    scheduler.journal().full = true;
    return world_.After(world_.Between(200, 3000) * 1000, [&scheduler] { scheduler.journal().full = false; });
  }
  if (!scheduler.up()) return;
  if (world_.OneIn(4)) return Pause(scheduler.self());
  Interrupt(scheduler.self());
  scheduler.End();
  world_.After(world_.Between(50, world_.OneIn(3) ? 5000 : 900) * 1000, [&scheduler] {
    if (!scheduler.up()) scheduler.Start();
  });
}

void SimFaults::EndWorker(size_t number) {
  SimWorker& worker = *cluster_.workers()[number];
  if (world_.OneIn(2)) return Pause(worker.self());
  if (!world_.up(worker.self())) return;
  worker.End();
  world_.After(world_.Between(50, 4000) * 1000, [this, &worker] {
    if (!world_.up(worker.self())) worker.Start();
  });
}

void SimFaults::Pause(Endpoint process) {
  const bool works = ServerAt(process) == nullptr && process != cluster_.scheduler.self();
  Pause(process, !works && world_.OneIn(2) ? world_.Between(20, 900) : world_.Between(2500, 6500));
}

void SimFaults::Pause(Endpoint process, uint64_t ms) {
  world_.Note(process, "stands still for ", ms, " ms");
  Interrupt(process);
  world_.Pause(process, ms);
  cluster_.NotePause(process);
}

void SimFaults::CutLinks(Endpoint from) {
  std::vector<Endpoint> others{cluster_.scheduler.self()};
  for (const auto& server : cluster_.servers()) others.push_back(server->self());
  for (const auto& client : cluster_.clients()) others.push_back(client->self());
  for (const auto& worker : cluster_.workers()) others.push_back(worker->self());
  const uint64_t ways = world_.Between(1, 3);  // there, back, both
  const bool all = world_.OneIn(3);
  Interrupt(from);
  for (const Endpoint other : others) {
    if (other == from || (!all && !world_.OneIn(3))) continue;
    world_.Note(from, "is cut from ", world_.name(other), ", ways ", ways);
    if (ways & 1) world_.Cut(from, other);
    if (ways & 2) world_.Cut(other, from);
  }
  // A firewall refuses as a process does that has ended.
  const SimServer* server = ServerAt(from);
  if (server != nullptr && server->node() != 0 && world_.OneIn(3)) {
    world_.After(world_.Between(1, 400) * 1000,
                 [this, node = server->node()] { cluster_.scheduler.NoteEnded(node); });
  }
  world_.After(world_.Between(100, 6000) * 1000, [this] { world_.Heal(); });
}

// From one other server, and a moment later it ends: what it did in between, only some have.
void SimFaults::Isolate(SimServer& server) {
  const auto& servers = cluster_.servers();
  size_t number = world_.Pick(servers.size());
  if (servers[number].get() == &server) number = (number + 1) % servers.size();
  SimServer& other = *servers[number];
  if (&other == &server) return EndServer(server, false);  // it is alone
  world_.Note(server.self(), "is cut from ", world_.name(other.self()), " and will end");
  world_.Cut(server.self(), other.self());
  if (world_.OneIn(2)) world_.Cut(server.self(), cluster_.scheduler.self());
  severed_ = &other;
  if (cluster_.options().isolation || world_.OneIn(2)) isolated_ = &server;
  world_.After(world_.Between(3, 250) * 1000, [this, &server] {
    isolated_ = &server;
    EndIsolated(nullptr);
  });
}

// Whether it has taken what the isolated server's other backup has not.
bool SimFaults::HoldsAlone(const SimServer& holder) const {
  const SimCore *primary = isolated_->core(), *other = severed_->core();
  if (primary == nullptr || other == nullptr || holder.core() == nullptr) return false;
  return std::ranges::any_of(primary->slots(), [&](const auto& entry) {
    const auto& [id, slot] = entry;
    const SimSlot *held = holder.core()->GetSlot(id), *lacks = other->GetSlot(id);
    return slot->replica.granted() && held != nullptr && lacks != nullptr && lacks->replica.following() &&
           held->shard->last_lsn() > lacks->shard->last_lsn();
  });
}

// Sometimes it is back before anybody has reported what it had sent. `holder`: who has just taken some of
// that; then it stands still, so that another one is promoted that writes other deltas with the same lsns.
void SimFaults::EndIsolated(SimServer* holder) {
  if (holder != nullptr && isolated_ != nullptr && cluster_.options().isolation && !HoldsAlone(*holder))
    return;
  SimServer* server = std::exchange(isolated_, nullptr);
  if (server == nullptr || !server->up() || healed_) return;
  world_.Heal();
  const bool chosen = cluster_.options().isolation;
  if (!chosen && world_.OneIn(2)) return EndServer(*server, world_.OneIn(2));
  Interrupt(server->self());
  server->End(chosen || world_.OneIn(2));
  StartLater(*server, chosen ? 1 : world_.Between(1, 40));
  if (chosen && holder != nullptr && holder->up()) Pause(holder->self(), world_.Between(100, 700));
}

void SimFaults::BreakDisk(SimServer& server) {
  const bool full = world_.OneIn(2);
  const char* operation = world_.OneIn(2) ? "write" : "sync";
  world_.Note(server.self(), "its disk fails: ", operation, full ? ", full" : ", broken");
  Interrupt(server.self());
  server.disk().Break(operation, full ? ENOSPC : EIO);
  // Sometimes it can be written again before anybody has heard that it could not.
  world_.After((world_.OneIn(2) ? world_.Between(5, 100) : world_.Between(100, 3000)) * 1000,
               [&server] { server.disk().Mend(); });
}

void SimFaults::DamageDisk(SimServer& server) {
  Interrupt(server.self());
  cluster_.truth.OnDamage(server);
  server.End(false);
  const bool damaged = server.disk().Damage("/node/log", world_.Pick(1 << 20));
  world_.Note(server.self(), damaged ? "its log is damaged" : "it has no log to damage");
  world_.After(world_.Between(50, 800) * 1000, [&server] {
    if (!server.up()) server.Start();
  });
}

void SimFaults::HealAll() {
  healed_ = true;
  world_.Heal();
  world_.set_loss(0);
  cluster_.scheduler.journal().full = false;
  if (!cluster_.scheduler.up()) cluster_.scheduler.Start();
  for (const auto& server : cluster_.servers()) {
    server->disk().Mend();
    if (!server->up()) server->Start();
  }
  for (const auto& worker : cluster_.workers()) {
    if (!world_.up(worker->self())) worker->Start();
  }
}

}  // namespace penstock::sim
