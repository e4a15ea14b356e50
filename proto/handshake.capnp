# The handshake: the bootstrap interface of every Penstock port. Nothing else answers until it is passed.
#
#   client                                   server
#   hello(range, cluster, nonce)  ------->   refuses another version or cluster, naming both
#                                 <-------   nonce, proof = HMAC(token, "server" | both nonces)
#   prove(HMAC(token, "client" | nonces)) -> refuses a wrong proof
#                                 <-------   the service of this port (DataPlane or Scheduler)
#
# HMAC is SHA-256 over: role, the client's nonce, the server's nonce, cluster id (little-endian). The token never travels. Both
# sides check the other. A cluster without tokens (loopback only) uses the empty token.
#
# A port knows up to three tokens, `node`, `operator` and `client`, which may call different methods (common/net/access.h). A caller
# needs to know only its own: the server's proof has one part for each, and the proof that it sends back says which one it has.
@0xc7b0a5d1e2f34a03;
using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("penstock::proto");
using Common = import "common.capnp";

# 2: TableSpec has defaults, so a peer of version 1 would read other values in it; a proof for each token of a port.
const protocolMin :UInt16 = 2;
const protocolMax :UInt16 = 2;

struct Hello {
  protocolMin @0 :UInt16;
  protocolMax @1 :UInt16;
  cluster @2 :UInt64;   # 0: not known yet (a first contact with the scheduler); else must be the peer's
  nonce @3 :Data;       # 16 random bytes
  name @4 :Text;        # who calls, for logs and errors: "server-2", "penstock train"; 1 to 64 printable ASCII characters
}

interface Handshake {
  hello @0 (hello :Hello) -> (status :Common.Status, protocol :UInt16, cluster :UInt64, nonce :Data, proof :Data, name :Text);
  # Called once, first. `protocol` is the highest version in both ranges. `nonce` has 16 bytes, and `proof` 32 for each token that
  # the port knows: the port is of the caller's cluster when one of them is the proof of the caller's token.
  prove @1 (proof :Data) -> (status :Common.Status, service :Capability);
  # Called once, second. overloaded: the port has as many connections as it may.
}

struct Refusal {
  # How a port answers a method that the caller's token may not call, in place of the method's own results, all of which begin with
  # their status.
  status @0 :Common.Status;
}
