// The checks of ReadTableImages.
#include "server/shard/table_images.h"

#include <capnp/common.h>

#include <bit>
#include <string>

namespace penstock {
namespace {

constexpr uint32_t kMaxDim = 65536;
constexpr uint32_t kMaxSlotsPerValue = 2;
static_assert(std::endian::native == std::endian::little, "packed arrays are read in place");

template <typename T>
Status Unpack(const char* what, capnp::Data::Reader data, std::span<const T>* out) {
  if (data.size() % sizeof(T) != 0) {
    return DataLoss(std::string(what) + " has " + std::to_string(data.size()) + " bytes, no multiple of " +
                    std::to_string(sizeof(T)));
  }
  if (data.size() > 0 && reinterpret_cast<uintptr_t>(data.begin()) % alignof(T) != 0) {
    return DataLoss(std::string(what) + " is not aligned");
  }
  *out = {reinterpret_cast<const T*>(data.begin()), data.size() / sizeof(T)};
  return Status::Ok();
}

Status Check(proto::TableDelta::Reader delta, TableImages* out) {
  if (out->table == 0) return DataLoss("table id 0");
  if (delta.getLayout() != kRowLayout) {
    return DataLoss("row layout " + std::to_string(delta.getLayout()) + ", this version knows " +
                    std::to_string(kRowLayout));
  }
  if (out->dropped) return Status::Ok();
  if (out->dim < 1 || out->dim > kMaxDim || out->slots > kMaxSlotsPerValue * out->dim) {
    return DataLoss("dim " + std::to_string(out->dim) + " with " + std::to_string(out->slots) + " slots");
  }
  PENSTOCK_RETURN_IF_ERROR(Unpack("keys", delta.getKeys(), &out->keys));
  PENSTOCK_RETURN_IF_ERROR(Unpack("headers", delta.getHeaders(), &out->headers));
  PENSTOCK_RETURN_IF_ERROR(Unpack("images", delta.getImages(), &out->images));
  PENSTOCK_RETURN_IF_ERROR(Unpack("deletions", delta.getDeletions(), &out->deletions));
  constexpr uint16_t kWhole = kSectionValues | kSectionSlots;
  const bool known =
      (out->sections >= 1 && out->sections <= kWhole) || out->sections == (kWhole | kSectionAccumulator);
  if (!out->keys.empty() && !known) {
    return DataLoss("sections " + std::to_string(out->sections) +
                    ", this version knows values, slots, and both with an accumulator");
  }
  if (out->headers.size() != out->keys.size() ||
      out->images.size() != out->keys.size() * out->image_floats()) {
    return DataLoss(std::to_string(out->keys.size()) + " keys, " + std::to_string(out->headers.size()) +
                    " headers, " + std::to_string(out->images.size()) + " floats of images of " +
                    std::to_string(out->image_floats()));
  }
  return Status::Ok();
}

}  // namespace

Result<TableImages> ReadTableImages(proto::TableDelta::Reader delta) {
  TableImages out;
  out.table = delta.getTable();
  out.dropped = delta.getDropped();
  out.dim = delta.getDim();
  out.slots = delta.getSlots();
  out.sections = delta.getSections();
  out.open_round = delta.getOpenRound();
  out.committed_round = delta.getCommittedRound();
  Status status = Check(delta, &out);
  if (!status.ok()) return status.Prepend("table " + std::to_string(out.table));
  return out;
}

}  // namespace penstock
