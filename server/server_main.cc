// penstock-server: one server process.
#include "common/config/process.h"
#include "server/node/server.h"

namespace penstock {
namespace {

Status Serve(const ClusterOptions& options, EndingSignals& signals) {
  ASSIGN_OR_RETURN(auto server, Server::Start(options, [&] { return signals.Wait(0); }));
  while (!signals.Wait(200)) RETURN_IF_ERROR(server->refused());
  server->Stop();
  return Status::Ok();
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  return penstock::RunProcess(
      argc, argv, {.program = "penstock-server", .summary = "A Penstock server: holds shards of the tables."},
      penstock::Serve);
}
