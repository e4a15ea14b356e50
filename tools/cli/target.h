// Connecting to the cluster that a command line names.
#pragma once

#include <memory>
#include <string>

#include "client/client.h"
#include "common/base/status.h"
#include "tools/cli/arguments.h"
#include "tools/launch/data_dir.h"

namespace penstock {

// The folder of the target's cluster, as an absolute path.
std::string DataDirOf(const TargetArguments& target);
// host:port of the target's scheduler, as given or as the file says that holds it.
Result<std::string> SchedulerAt(const TargetArguments& target);
// What a client needs to reach the target. `name` is for the peers' logs.
ClientOptions TargetOptions(const TargetArguments& target, const std::string& name);
// What `status` of Client::Connect means for the cluster of a folder: kUnavailable, it does not run (what to
// type is said) or its scheduler is away; kDeadlineExceeded, its scheduler is there and does not answer.
Status ExplainNoAnswer(const DataDirPaths& paths, const Status& status);
// `options` or `name` as of TargetOptions. Errors as of ExplainNoAnswer and Client::Connect.
Result<std::unique_ptr<Client>> ConnectTo(const TargetArguments& target, const std::string& name);
Result<std::unique_ptr<Client>> ConnectTo(const TargetArguments& target, const ClientOptions& options);

}  // namespace penstock
