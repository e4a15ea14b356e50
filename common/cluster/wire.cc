#include "common/cluster/wire.h"

namespace penstock {

void WriteStatus(const Status& status, proto::Status::Builder out) {
  out.setCode(static_cast<proto::Code>(status.code()));
  if (!status.ok()) out.setMessage(status.message());
  out.setRetryAfterMs(status.retry_after_ms());
}

Status ReadStatus(proto::Status::Reader in) {
  const auto code = static_cast<uint16_t>(in.getCode());
  if (code == 0) return Status::Ok();
  if (code > static_cast<uint16_t>(Code::kInternal)) {
    return Internal("a peer of a later version answered code " + std::to_string(code) + ": " +
                    in.getMessage().cStr());
  }
  return Status(static_cast<Code>(code), in.getMessage().cStr(), in.getRetryAfterMs());
}

void WriteTableSpec(const TableSpec& spec, proto::TableSpec::Builder out) {
  out.setId(spec.id);
  out.setName(spec.name);
  out.setDim(spec.dim);
  auto o = out.getOptimizer();
  o.setKind(static_cast<uint8_t>(spec.optimizer.kind));
  o.setLearningRate(spec.optimizer.learning_rate);
  o.setL1(spec.optimizer.l1);
  o.setL2(spec.optimizer.l2);
  o.setBeta1(spec.optimizer.beta1);
  o.setBeta2(spec.optimizer.beta2);
  o.setEpsilon(spec.optimizer.epsilon);
  o.setBeta(spec.optimizer.beta);
  o.setInitialAccumulator(spec.optimizer.initial_accumulator);
  auto i = out.getInitializer();
  i.setKind(static_cast<uint8_t>(spec.initializer.kind));
  i.setValue(spec.initializer.value);
  i.setLow(spec.initializer.low);
  i.setHigh(spec.initializer.high);
  i.setMean(spec.initializer.mean);
  i.setStddev(spec.initializer.stddev);
  out.setSeed(spec.seed);
  out.setDurability(static_cast<proto::Durability>(spec.durability));
  out.setAllowNonFinite(spec.allow_non_finite);
  out.setDenseSize(spec.dense_size);
}

Result<TableSpec> ReadTableSpec(proto::TableSpec::Reader in) {
  TableSpec spec;
  spec.id = in.getId();
  spec.name = in.getName().cStr();
  spec.dim = in.getDim();
  const auto o = in.getOptimizer();
  const auto i = in.getInitializer();
  const std::string context = "table '" + spec.name + "'";
  if (o.getKind() > static_cast<uint8_t>(OptimizerKind::kFtrl)) {
    return InvalidArgument(context + ": optimizer kind " + std::to_string(o.getKind()) +
                           " is not known to this version");
  }
  if (i.getKind() > static_cast<uint8_t>(InitializerKind::kNormal)) {
    return InvalidArgument(context + ": initializer kind " + std::to_string(i.getKind()) +
                           " is not known to this version");
  }
  if (static_cast<uint16_t>(in.getDurability()) > static_cast<uint16_t>(Durability::kSynced)) {
    return InvalidArgument(context + ": durability is not known to this version");
  }
  spec.optimizer = {.kind = static_cast<OptimizerKind>(o.getKind()),
                    .learning_rate = o.getLearningRate(),
                    .l1 = o.getL1(),
                    .l2 = o.getL2(),
                    .beta1 = o.getBeta1(),
                    .beta2 = o.getBeta2(),
                    .epsilon = o.getEpsilon(),
                    .beta = o.getBeta(),
                    .initial_accumulator = o.getInitialAccumulator()};
  spec.initializer = {.kind = static_cast<InitializerKind>(i.getKind()),
                      .value = i.getValue(),
                      .low = i.getLow(),
                      .high = i.getHigh(),
                      .mean = i.getMean(),
                      .stddev = i.getStddev()};
  spec.seed = in.getSeed();
  spec.durability = static_cast<Durability>(in.getDurability());
  spec.allow_non_finite = in.getAllowNonFinite();
  spec.dense_size = in.getDenseSize();
  RETURN_IF_ERROR(spec.Validate());
  return spec;
}

}  // namespace penstock
