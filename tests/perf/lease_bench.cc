// What a lease costs: a worker that knows its job asks a scheduler over RPC on loopback, which writes its
// journal to the disk, for a partition of a job of so many. `journal` is the same synced write alone.
//
//   build/release/bin/lease_bench
#include <benchmark/benchmark.h>
#include <glog/logging.h>

#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "common/cluster/scheduler_link.h"
#include "scheduler/node/scheduler.h"
#include "scheduler/state/journal.h"

namespace penstock {
namespace {

std::string TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "penstock-lease-XXXXXX").string();
  CHECK(mkdtemp(pattern.data()) != nullptr);
  return pattern;
}

class LeaseBench {
 public:
  explicit LeaseBench(uint32_t partitions) : dir_(TempDir()) {
    ClusterOptions options;
    options.cluster.data_dir = dir_;
    options.scheduler.shards = 2;
    options.scheduler.servers = 1;
    options.scheduler.suspect_ms = options.scheduler.dead_ms = options.scheduler.lease_ms = 600000;
    auto scheduler = Scheduler::Start(options);
    CHECK(scheduler.ok()) << scheduler.status().ToString();
    scheduler_ = std::move(*scheduler);
    loop_.Run([&] {
      identity_->name = "lease_bench";
      cache_ = std::make_unique<ConnectionCache>(loop_, identity_);
      link_ = std::make_unique<SchedulerLink>(loop_, *cache_, dir_ + "/address");
    });
    Register(proto::Role::SERVER);
    Register(proto::Role::WORKER);
    Submit(partitions);
    while (!Lease()) {  // until the shard is placed
    }
  }
  ~LeaseBench() {
    loop_.Run([&] {
      link_.reset();
      cache_.reset();
    });
    scheduler_.reset();
    std::filesystem::remove_all(dir_);
  }

  // False: there is none now.
  bool Lease() {
    bool given = false;
    Call(
        [this](proto::Scheduler::Client& s) {
          auto request = s.leaseRequest();
          request.setNode(node_);
          request.setSession(session_);
          request.setCount(1);
          request.initKnownJobs(1).set(0, job_);
          return request;
        },
        [&](auto& results) { given = results.getLeases().size() == 1; });
    return given;
  }

 private:
  template <typename Make, typename Read>
  void Call(Make make, Read read) {
    std::promise<void> done;
    auto future = done.get_future();
    loop_.Post([&] {
      auto call = link_->Call("call", 60000, make).then([&](auto&& response) {
        CHECK(response.ok()) << response.status().ToString();
        read(*response);
        done.set_value();
      });
      loop_.Detach(kj::mv(call), "call");
    });
    future.get();
  }

  void Register(proto::Role role) {
    Call(
        [role](proto::Scheduler::Client& s) {
          auto request = s.registerRequest();
          request.setRole(role);
          request.setName(role == proto::Role::SERVER ? "server" : "worker");
          request.initEndpoints(1).set(0, "nowhere:7");
          return request;
        },
        [this](auto& results) {
          node_ = results.getNode();
          session_ = results.getSession();
        });
  }

  // Of about as many bytes as a job of so many partitions has.
  void Submit(uint32_t partitions) {
    const nlohmann::json spec{
        {"name", "bench"},
        {"tables", nlohmann::json::array()},
        {"passes", 1},
        {"data_plan", std::string(size_t{12} * partitions, 'x')},
        {"plan",
         {{"train",
           {{"partitions", partitions}, {"records", partitions}, {"bytes", 1}, {"fingerprint", "00"}}}}}};
    Call(
        [text = spec.dump()](proto::Scheduler::Client& s) {
          auto request = s.submitJobRequest();
          request.setSpec(text);
          return request;
        },
        [this](auto& results) { job_ = results.getJob(); });
  }

  const std::string dir_;
  KjLoop loop_{"bench"};
  std::shared_ptr<ClusterIdentity> identity_ = std::make_shared<ClusterIdentity>();
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<ConnectionCache> cache_;
  std::unique_ptr<SchedulerLink> link_;
  NodeId node_ = 0;
  uint64_t session_ = 0;
  JobId job_ = 0;
};

void BM_Lease(benchmark::State& state) {
  LeaseBench bench(static_cast<uint32_t>(state.range(0)));
  for (auto step : state) {
    if (!bench.Lease()) return state.SkipWithError("no partition is free");
  }
}
BENCHMARK(BM_Lease)
    ->ArgName("partitions")
    ->Arg(1000)
    ->Arg(65536)
    ->Iterations(500)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

void BM_JournalWrite(benchmark::State& state) {
  const std::string dir = TempDir();
  {
    auto journal = Journal::Open(dir);
    CHECK(journal.ok()) << journal.status().ToString();
    uint64_t producer = 1;
    CHECK((*journal)->Append(BeginTerm{.term = 1, .cluster = 5, .shards = 2}, 0).ok());
    for (auto step : state) {
      CHECK((*journal)->Append(AllocateProducers{.first = producer++, .count = 1}, 0).ok());
    }
  }
  std::filesystem::remove_all(dir);
}
BENCHMARK(BM_JournalWrite)->Iterations(500)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace penstock
