// The work of `bench dense` in one worker process: {"table", "options": DenseOptions}. Go takes "sign", of
// what is pushed, and answers {"bytes_per_second", "done": how often each slice}.
#include <chrono>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "client/dense_tensor.h"
#include "common/base/strings.h"
#include "tools/bench/bench_worker.h"
#include "tools/bench/dense.h"

namespace penstock {
namespace {

using Clock = StepLoop::Clock;

class DenseTask final : public BenchTask {
 public:
  DenseTask(Client& client, const DenseOptions& options, const DenseTensor& tensor,
            std::shared_ptr<Producer> producer)
      : client_(client), options_(options), tensor_(tensor), producer_(std::move(producer)) {}

  Result<nlohmann::json> Go(Clock::time_point begin, double seconds, const nlohmann::json& order) override {
    const auto sign = static_cast<float>(order.at("sign").get<int>());
    std::vector<float> values(options_.slice_floats());
    for (uint64_t i = 0; i < values.size(); ++i) values[i] = sign * DensePushed(i);
    const auto end =
        begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    std::vector<uint32_t> done(options_.slices(), 0);
    uint64_t counted = 0;
    const auto finish = [&](Call& call) -> Status {
      PENSTOCK_RETURN_IF_ERROR(Finish(call));
      ++done[call.slice];
      if (Clock::now() <= end) ++counted;
      return Status::Ok();
    };
    std::vector<Call> calls(options_.inflight);
    std::this_thread::sleep_until(begin);
    for (Call& call : calls) Begin(values, call);
    for (size_t turn = 0; Clock::now() < end; ++turn) {
      Call& call = calls[turn % calls.size()];
      PENSTOCK_RETURN_IF_ERROR(finish(call));
      Begin(values, call);
    }
    for (Call& call : calls) PENSTOCK_RETURN_IF_ERROR(finish(call));
    const double bytes = static_cast<double>(counted * options_.slice_floats() * sizeof(float));
    return nlohmann::json{{"bytes_per_second", bytes / seconds}, {"done", done}};
  }

 private:
  struct Call {
    uint64_t slice = 0;
    std::vector<float> values;  // what it pulls
    std::future<Status> pull;
    std::future<Result<PushResult>> push;
    ~Call() {
      if (pull.valid()) pull.wait();  // for `values`
    }
  };

  void Begin(const std::vector<float>& values, Call& call) {
    call.slice = next_slice_++ % options_.slices();
    const uint64_t begin = call.slice * options_.slice_floats();
    if (options_.work == Work::kPush) {
      call.push = tensor_.Push(client_, *producer_, values, begin);
    } else {
      call.values.resize(options_.slice_floats());
      call.pull = tensor_.PullInto(client_, call.values, begin);
    }
  }

  // Some of what a pull brought is looked at here, all of it by the run at its end.
  Status Finish(Call& call) {
    constexpr uint64_t kEvery = 509;
    if (call.push.valid()) return call.push.get().status().Prepend("push");
    PENSTOCK_RETURN_IF_ERROR(call.pull.get().Prepend("pull"));
    const uint64_t begin = call.slice * options_.slice_floats();
    for (uint64_t i = 0; i < call.values.size(); i += kEvery) {
      if (call.values[i] == DenseFilled(begin + i)) continue;
      return DataLoss(StrCat("a pull of float ", begin + i, " got ", call.values[i], ", but it holds ",
                             DenseFilled(begin + i)));
    }
    return Status::Ok();
  }

  Client& client_;
  const DenseOptions options_;
  const DenseTensor tensor_;
  const std::shared_ptr<Producer> producer_;
  uint64_t next_slice_ = 0;
};

}  // namespace

Result<std::unique_ptr<BenchTask>> MakeDenseTask(Client& client, const nlohmann::json& order) {
  const auto options = order.at("options").get<DenseOptions>();
  PENSTOCK_ASSIGN_OR_RETURN(const TableSpec table, client.OpenTable(order.at("table").get<std::string>()));
  PENSTOCK_ASSIGN_OR_RETURN(const DenseTensor tensor, DenseTensor::Of(table));
  PENSTOCK_ASSIGN_OR_RETURN(auto producer, client.NewProducer());
  return std::unique_ptr<BenchTask>(
      std::make_unique<DenseTask>(client, options, tensor, std::move(producer)));
}

}  // namespace penstock
