#include "tests/chaos/chaos_cluster.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "client/admin.h"
#include "common/base/atomic_file.h"
#include "common/base/strings.h"
#include "tests/cluster/copy_digests.h"

namespace penstock {
namespace {

constexpr char kDirect[] = "127.0.0.1";   // where processes listen
constexpr char kProxied[] = "127.0.0.2";  // where others are told to connect
constexpr int kServiceMs = 60000;
constexpr int kHeardMs = 1000;  // servers beat more often
constexpr uint64_t kPushesAfter = 50;

// Ports below those that the kernel gives to outgoing connections, so that a server finds its own free again.
constexpr uint16_t kFirstPort = 10000, kLastPort = 32000;

bool PortIsFree(uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(port);
  const bool is_free = ::bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0;
  ::close(fd);
  return is_free;
}

// Not from the seed: which ports are free is not its matter, and two runs at a time must differ.
uint16_t FindPort() {
  std::random_device device;
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const auto port = static_cast<uint16_t>(kFirstPort + device() % (kLastPort - kFirstPort));
    if (PortIsFree(port)) return port;
  }
  return 0;
}

}  // namespace

ChaosCluster::ChaosCluster(const Options& options)
    : options_(options), clock_(std::chrono::milliseconds(options.deadline_ms)) {
  dir_ = (std::filesystem::temp_directory_path() / "penstock-chaos-XXXXXX").string();
  if (::mkdtemp(dir_.data()) == nullptr) ::abort();
  TestCluster::Options cluster{
      .servers = options.chaos.servers, .workers = options.workers, .set = options.set, .dir = dir_};
  if (options.chaos.copies > 1) {
    cluster.set.push_back(StrCat("scheduler.copies=", options.chaos.copies));
    cluster.set.push_back(StrCat("scheduler.min_copies=", options.chaos.min_copies));
  }
  processes_ = std::make_unique<TestCluster>(cluster);
}

ChaosCluster::~ChaosCluster() {
  load_.reset();
  client_.reset();
  processes_.reset();
  links_.clear();
  std::error_code ignored;
  if (!keep_) std::filesystem::remove_all(dir_, ignored);
}

std::string ChaosCluster::Keep() {
  keep_ = true;
  return dir_;
}

Status ChaosCluster::AddLink(const std::string& from, const std::string& to,
                             const FaultProxy::Options& options) {
  auto proxy = FaultProxy::Start(options);
  if (!proxy.ok()) return proxy.status();
  links_[from + ">" + to] = std::move(*proxy);
  return Status::Ok();
}

Status ChaosCluster::MakeLinks() {
  PENSTOCK_RETURN_IF_ERROR(MakeDirectories(dir_ + "/links"));
  std::vector<std::string> to_scheduler{"client"};
  for (const auto& name : processes_->names()) {
    if (name != "scheduler") to_scheduler.push_back(name);
    if (!name.starts_with("worker")) ports_[name] = FindPort();
    if (name.starts_with("server")) {
      PENSTOCK_RETURN_IF_ERROR(
          AddLink("client", name, {.host = kProxied, .port = ports_[name], .target_port = ports_[name]}));
    }
  }
  for (const auto& from : to_scheduler) {
    PENSTOCK_RETURN_IF_ERROR(
        AddLink(from, "scheduler", {.host = kProxied, .target_port = ports_["scheduler"]}));
    PENSTOCK_RETURN_IF_ERROR(
        WriteFileAtomically(SchedulerFor(from), Link(from, "scheduler").endpoint() + "\n"));
  }
  return Status::Ok();
}

std::string ChaosCluster::SchedulerFor(const std::string& name) const {
  return options_.proxies ? dir_ + "/links/" + name : processes_->scheduler_address();
}

Status ChaosCluster::StartOne(const std::string& name,
                              const std::map<std::string, std::string>& environment) {
  std::vector<std::string> set;
  if (options_.proxies) {
    set.push_back("cluster.scheduler=" + SchedulerFor(name));
    if (name == "scheduler") set.push_back(StrCat("scheduler.port=", ports_.at(name)));
    if (name.starts_with("server")) {
      set.push_back(StrCat("server.listen=", kDirect));
      set.push_back(StrCat("server.advertise_host=", kProxied));
      set.push_back(StrCat("server.port=", ports_.at(name)));
    }
  }
  if (options_.networks == nullptr) return processes_->StartOne(name, environment, set);
  set.push_back(StrCat(name.substr(0, name.find('-')), ".listen=", options_.networks->address(name)));
  const auto inside = options_.networks->Enter(name);
  return processes_->StartOne(name, environment, set);
}

Status ChaosCluster::Start() {
  if (options_.proxies) PENSTOCK_RETURN_IF_ERROR(MakeLinks());
  for (const auto& name : processes_->names()) PENSTOCK_RETURN_IF_ERROR(StartOne(name));
  if (Status served = processes_->WaitServing(); !served.ok())
    return served.Prepend("start: " + processes_->Output("scheduler") + processes_->Output("server-0"));
  auto client = Client::Connect({.scheduler = SchedulerFor("client"),
                                 .token_file = processes_->token_file(),
                                 .name = "chaos",
                                 .deadline_ms = options_.deadline_ms});
  if (!client.ok()) return client.status();
  client_ = std::move(*client);
  load_ = std::make_unique<CountingLoad>(
      *client_,
      CountingLoad::Options{.dim = options_.dim,
                            .seed = options_.chaos.seed,
                            .durability = options_.chaos.level,
                            .on_answer = [this](AnswerClock::Clock::time_point begun, const Status& answer) {
                              clock_.OnAnswer(begun, answer);
                            }});
  return WaitWhole();
}

Status ChaosCluster::BeginLoad(uint64_t pushes) {
  PENSTOCK_RETURN_IF_ERROR(Lsns(&lsns_));
  const uint64_t before = load_->pushes();
  failed_ = load_->failed();
  clock_.Begin();
  PENSTOCK_RETURN_IF_ERROR(load_->Start().Prepend("start of the load"));
  if (!WaitFor(kServiceMs, [&] { return load_->pushes() >= before + pushes && load_->in_flight() > 0; }))
    return DeadlineExceeded("the load does not get on before the fault: " + load_->first_error());
  if (options_.chaos.level == Durability::kMemory) return load_->Confirm().Prepend("flush before the fault");
  return Status::Ok();
}

void ChaosCluster::Fault(Iteration* iteration) {
  (void)WaitFor(5000, [&] { return load_->in_flight() > 0; });
  iteration->in_flight = load_->in_flight();
  clock_.Fault();
}

bool ChaosCluster::WaitRecovered(int deadline_ms) {
  return WaitFor(deadline_ms, [&] { return clock_.Recovered(); });
}

// The key "copies" of the status is there when the cluster keeps more than one.
Status ChaosCluster::WaitWhole(int deadline_ms) {
  std::string last = "no answer";
  const bool whole = WaitFor(deadline_ms, [&] {
    auto status = Admin(*client_).Inspect("status");
    if (!status.ok()) {
      last = status.status().ToString();
      return false;
    }
    const auto& shards = status->at("shards");
    last = shards.dump() + status->at("problems").dump();
    if (shards.at("serving") != shards.at("total")) return false;
    // A server whose packets were lost is silent for as long as TCP waits with the next one, and may count as
    // dead yet: with the next fault.
    for (const auto& node : status->at("nodes")) {
      if (node.at("role") == "server" && node.at("last_seen_ms") > kHeardMs) return false;
    }
    if (options_.chaos.copies <= 1 || !status->contains("copies")) return options_.chaos.copies <= 1;
    const auto& complete = status->at("copies").at("complete");
    return complete.is_boolean() ? complete.get<bool>() : complete == shards.at("total");
  });
  return whole ? Status::Ok() : DeadlineExceeded("the cluster is not whole: " + last);
}

Status ChaosCluster::Lsns(std::map<ShardId, Lsn>* lsns) {
  auto shards = Admin(*client_).Inspect("shards");
  if (!shards.ok()) return shards.status();
  for (const auto& shard : *shards) {
    const ShardId id = shard.at("shard");
    const Lsn lsn = shard.at("lsn"), before = (*lsns)[id];
    if (lsn < before) return DataLoss(StrCat("the lsn of shard ", id, " fell from ", before, " to ", lsn));
    (*lsns)[id] = lsn;
  }
  return Status::Ok();
}

std::string ChaosCluster::CheckAll(uint64_t failed_before) {
  if (clock_.overdue() > 0)
    return StrCat(clock_.overdue(), " pushes were answered later than 2 s after their deadline");
  if (load_->failed() > failed_before)
    return StrCat(load_->failed() - failed_before, " pushes failed, the first ever: ", load_->first_error());
  if (const auto ended = processes_->EndedByThemselves(); !ended.empty())
    return ended.front() + " has ended by itself: " + processes_->Output(ended.front());
  // At level memory a server may come back with less.
  if (options_.chaos.level == Durability::kMemory) {
    lsns_.clear();
  } else if (Status lsns = Lsns(&lsns_); !lsns.ok()) {
    return lsns.ToString();
  }
  if (std::string wrong = load_->Check(); !wrong.empty()) return wrong;
  return options_.chaos.copies == 1 ? "" : CompareCopies(*processes_, *client_);
}

std::string ChaosCluster::DrawPrimary(std::mt19937_64& random) {
  const uint64_t drawn = random();
  if (options_.chaos.copies > 1) {
    const auto shards = Admin(*client_).Inspect("shards");
    if (shards.ok()) return shards->at(drawn % shards->size()).at("node_name");
  }
  return "server-" + std::to_string(drawn % static_cast<uint64_t>(options_.chaos.servers));
}

void ChaosCluster::Finish(Iteration* iteration, bool lossy) {
  const Status whole = WaitWhole();
  const bool recovered = WaitRecovered(kServiceMs);
  const uint64_t back = load_->pushes();
  const bool goes_on = WaitFor(kServiceMs, [&] { return load_->pushes() >= back + kPushesAfter; });
  load_->Stop();
  iteration->gap_ms = clock_.LongestGapMs();
  iteration->recovery_ms = clock_.RecoveryMs();
  if (!iteration->error.empty()) return;
  if (lossy && options_.chaos.level == Durability::kMemory) {
    load_->MayHaveLost();
    // The first flush after a loss says that there was one; the next is about what came after it.
    if (Status flushed = load_->Confirm(); !flushed.ok() && flushed.code() != Code::kOutcomeUnknown)
      iteration->error = flushed.Prepend("flush after the fault").ToString();
  }
  if (!iteration->error.empty()) return;
  if (!whole.ok()) {
    iteration->error = whole.ToString();
  } else if (!recovered || !goes_on) {
    iteration->error = "pushes do not go on: " + load_->first_error();
  } else {
    iteration->error = CheckAll(failed_);
  }
}

}  // namespace penstock
