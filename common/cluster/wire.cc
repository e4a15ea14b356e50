#include "common/cluster/wire.h"

namespace penstock {
namespace {

// Of an error's text, which may repeat what a peer sent.
constexpr size_t kMostMessageBytes = 4096;

std::string Shortened(const std::string& message) {
  size_t end = kMostMessageBytes;
  while (end > 0 && (static_cast<uint8_t>(message[end]) & 0xc0) == 0x80) --end;  // not within a character
  return message.substr(0, end) + "...";
}

}  // namespace

void WriteStatus(const Status& status, proto::Status::Builder out) {
  out.setCode(static_cast<proto::Code>(status.code()));
  const bool whole = status.message().size() <= kMostMessageBytes;
  if (!status.ok()) out.setMessage(whole ? status.message() : Shortened(status.message()));
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

Result<Codec> ReadCodec(proto::Codec codec) {
  const auto number = static_cast<uint16_t>(codec);
  if (number <= static_cast<uint16_t>(Codec::kBf16)) return static_cast<Codec>(number);
  return InvalidArgument("codec " + std::to_string(number) + " is not known to this version");
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
  o.setMomentum(spec.optimizer.momentum);
  o.setClipValue(spec.optimizer.clip_value);
  o.setClipNorm(spec.optimizer.clip_norm);
  auto i = out.getInitializer();
  i.setKind(static_cast<uint8_t>(spec.initializer.kind));
  i.setValue(spec.initializer.value);
  i.setLow(spec.initializer.low);
  i.setHigh(spec.initializer.high);
  i.setMean(spec.initializer.mean);
  i.setStddev(spec.initializer.stddev);
  i.setFanIn(spec.initializer.fan_in);
  i.setFanOut(spec.initializer.fan_out);
  out.setSeed(spec.seed);
  out.setDurability(static_cast<proto::Durability>(spec.durability));
  out.setAllowNonFinite(spec.allow_non_finite);
  out.setDenseSize(spec.dense_size);
  auto h = out.getSchedule();
  h.setKind(static_cast<uint8_t>(spec.schedule.kind));
  h.setWarmupSteps(spec.schedule.warmup_steps);
  h.setDecaySteps(spec.schedule.decay_steps);
  h.setDecayRate(spec.schedule.decay_rate);
  h.setMinimum(spec.schedule.minimum);
  out.setAccumulate(spec.accumulate);
  out.getAdmission().setMinCount(spec.admission.min_count);
  out.getAdmission().setProbability(spec.admission.probability);
  auto e = out.getExpiry();
  e.setTtlSeconds(spec.expiry.ttl_seconds);
  e.setUnusedPasses(spec.expiry.unused_passes);
  e.setMinNorm(spec.expiry.min_norm);
  out.setCodec(static_cast<proto::Codec>(spec.codec));
}

Result<TableSpec> ReadTableSpec(proto::TableSpec::Reader in) {
  TableSpec spec;
  spec.id = in.getId();
  spec.name = in.getName().cStr();
  spec.dim = in.getDim();
  const auto o = in.getOptimizer();
  const auto i = in.getInitializer();
  const std::string context = "table '" + spec.name + "'";
  if (o.getKind() > static_cast<uint8_t>(OptimizerKind::kAdamRow)) {
    return InvalidArgument(context + ": optimizer kind " + std::to_string(o.getKind()) +
                           " is not known to this version");
  }
  if (i.getKind() > static_cast<uint8_t>(InitializerKind::kTruncatedNormal)) {
    return InvalidArgument(context + ": initializer kind " + std::to_string(i.getKind()) +
                           " is not known to this version");
  }
  const auto h = in.getSchedule();
  if (h.getKind() > static_cast<uint8_t>(ScheduleKind::kInverseSqrt)) {
    return InvalidArgument(context + ": schedule kind " + std::to_string(h.getKind()) +
                           " is not known to this version");
  }
  if (static_cast<uint16_t>(in.getDurability()) > static_cast<uint16_t>(Durability::kSynced)) {
    return InvalidArgument(context + ": durability is not known to this version");
  }
  const auto codec = ReadCodec(in.getCodec());
  if (!codec.ok()) return codec.status().Prepend(context);
  spec.codec = *codec;
  spec.optimizer = {.kind = static_cast<OptimizerKind>(o.getKind()),
                    .learning_rate = o.getLearningRate(),
                    .l1 = o.getL1(),
                    .l2 = o.getL2(),
                    .beta1 = o.getBeta1(),
                    .beta2 = o.getBeta2(),
                    .epsilon = o.getEpsilon(),
                    .beta = o.getBeta(),
                    .initial_accumulator = o.getInitialAccumulator(),
                    .momentum = o.getMomentum(),
                    .clip_value = o.getClipValue(),
                    .clip_norm = o.getClipNorm()};
  spec.initializer = {.kind = static_cast<InitializerKind>(i.getKind()),
                      .value = i.getValue(),
                      .low = i.getLow(),
                      .high = i.getHigh(),
                      .mean = i.getMean(),
                      .stddev = i.getStddev(),
                      .fan_in = i.getFanIn(),
                      .fan_out = i.getFanOut()};
  spec.seed = in.getSeed();
  spec.durability = static_cast<Durability>(in.getDurability());
  spec.allow_non_finite = in.getAllowNonFinite();
  spec.dense_size = in.getDenseSize();
  spec.schedule = {.kind = static_cast<ScheduleKind>(h.getKind()),
                   .warmup_steps = h.getWarmupSteps(),
                   .decay_steps = h.getDecaySteps(),
                   .decay_rate = h.getDecayRate(),
                   .minimum = h.getMinimum()};
  spec.accumulate = in.getAccumulate();
  spec.admission = {.min_count = in.getAdmission().getMinCount(),
                    .probability = in.getAdmission().getProbability()};
  spec.expiry = {.ttl_seconds = in.getExpiry().getTtlSeconds(),
                 .unused_passes = in.getExpiry().getUnusedPasses(),
                 .min_norm = in.getExpiry().getMinNorm()};
  PENSTOCK_RETURN_IF_ERROR(spec.Validate());
  return spec;
}

}  // namespace penstock
