// penstock-server: one server process.
#include <malloc.h>

#include "common/config/process.h"
#include "server/node/server.h"

namespace penstock {
namespace {

Status Serve(const ClusterOptions& options, EndingSignals& signals) {
  for (bool ended = false, suspect = false; !ended; suspect = true) {
    PENSTOCK_ASSIGN_OR_RETURN(auto server, Server::Start(
                                               options, [&] { return signals.Wait(0); }, suspect));
    while (!ended && !server->damaged()) {
      PENSTOCK_RETURN_IF_ERROR(server->refused());
      ended = signals.Wait(200);
    }
    if (ended && options.server.drain_on_stop) server->Drain(options.server.drain_ms);
    server->Stop();
  }
  return Status::Ok();
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
  // Freed blocks of 4 MiB and more go back to the system. By default the allocator raises that bound to the
  // largest block it has seen, and a server stays as large as it was when it built the deltas of a large
  // table. The pieces that batches travel in are smaller (2 MiB unless a client says otherwise), and their
  // memory is used again: the system would clear each page of it anew.
  mallopt(M_MMAP_THRESHOLD, 4 << 20);
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
  return penstock::RunProcess(
      argc, argv, {.program = "penstock-server", .summary = "A Penstock server: holds shards of the tables."},
      penstock::Serve);
}
