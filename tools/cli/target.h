// Connecting to the cluster that a command line names.
#pragma once

#include <memory>
#include <string>

#include "client/client.h"
#include "common/base/status.h"
#include "tools/cli/arguments.h"

namespace penstock {

// What a client needs to reach the target. `name` is for the peers' logs.
ClientOptions TargetOptions(const TargetArguments& target, const std::string& name);
// `options` or `name` as of TargetOptions. kUnavailable says what is not there and what to type;
// kPermissionDenied as of Client::Connect.
Result<std::unique_ptr<Client>> ConnectTo(const TargetArguments& target, const std::string& name);
Result<std::unique_ptr<Client>> ConnectTo(const TargetArguments& target, const ClientOptions& options);

}  // namespace penstock
