// Conversions between Penstock's values and their form on the wire; what comes from a peer is checked here.
#pragma once

#include "common/base/status.h"
#include "common/cluster/table_spec.h"
#include "proto/common.capnp.h"

namespace penstock {

void WriteStatus(const Status& status, proto::Status::Builder out);
Status ReadStatus(proto::Status::Reader in);

// InvalidArgument when this version does not know it.
Result<Codec> ReadCodec(proto::Codec codec);

void WriteTableSpec(const TableSpec& spec, proto::TableSpec::Builder out);
// InvalidArgument when a field is out of range (TableSpec::Validate is included).
Result<TableSpec> ReadTableSpec(proto::TableSpec::Reader in);

}  // namespace penstock
