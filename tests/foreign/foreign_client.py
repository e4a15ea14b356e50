"""A client of a Penstock cluster that knows nothing but the schemas in proto/: what they say must be enough.

    foreign_client.py PROTO_FOLDER SCHEDULER_HOST:PORT CLIENT_TOKEN_FILE

Handshake, a table with unset fields, push, the same push again, pull, and misuse of each, with the answers that the
schemas promise. It prints each step, and ends with 0 when all of them were right.
"""

import asyncio
import hashlib
import hmac
import os
import struct
import sys

import capnp

MASK = (1 << 64) - 1
CONNECTIONS = []  # a capability does not keep the connection that it came over


def load(folder):
    imports = [os.path.dirname(os.path.dirname(capnp.__file__)), "/usr/include", "/usr/local/include"]
    names = ("common", "handshake", "control", "data")
    return {name: capnp.load(os.path.join(folder, name + ".capnp"), imports=imports) for name in names}


def shard_of(key, table, shards):
    """As proto/data.capnp has it."""
    x = (key + (table + 1) * 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return (x ^ x >> 31) >> (64 - (shards.bit_length() - 1))


def proof_of(token, role, client_nonce, server_nonce, cluster):
    message = role + client_nonce + server_nonce + struct.pack("<Q", cluster)
    return hmac.new(token, message, hashlib.sha256).digest()


def expect(what, condition, detail=""):
    print(("ok      " if condition else "WRONG   ") + what, detail if not condition else "", flush=True)
    if not condition:
        sys.exit(1)


def interface(capability, schema):
    return capability.as_interface(schema) if hasattr(capability, "as_interface") else capability.cast_as(schema)


async def call(capability, method, **parameters):
    """For methods with a parameter `name`, which pycapnp takes for one of its own."""
    request = getattr(capability, method + "_request")()
    for name, value in parameters.items():
        setattr(request, name, value)
    return await request.send()


async def connect(endpoint):
    host, port = endpoint.rsplit(":", 1)
    return await capnp.AsyncIoStream.create_connection(host=host, port=int(port))


def versions(schemas):
    handshake = schemas["handshake"]
    return {"protocolMin": handshake.protocolMin, "protocolMax": handshake.protocolMax}


async def greet(schemas, endpoint, token, name="foreign client"):
    """The bootstrap capability, the answer to hello, and what to send in prove."""
    CONNECTIONS.append(capnp.TwoPartyClient(await connect(endpoint)))
    handshake = CONNECTIONS[-1].bootstrap().cast_as(schemas["handshake"].Handshake)
    nonce = os.urandom(16)
    answer = await handshake.hello(hello={**versions(schemas), "cluster": 0, "nonce": nonce, "name": name})
    proof = proof_of(token, b"client", nonce, answer.nonce, answer.cluster)
    theirs = proof_of(token, b"server", nonce, answer.nonce, answer.cluster)
    parts = [answer.proof[i : i + 32] for i in range(0, len(answer.proof), 32)]
    return handshake, answer, proof, theirs in parts


async def enter(schemas, endpoint, token, schema):
    handshake, answer, proof, known = await greet(schemas, endpoint, token)
    expect("hello at " + endpoint.rsplit(":", 1)[0], answer.status.code == "ok", answer.status.message)
    expect("the port proves that it knows our token", known)
    proven = await handshake.prove(proof=proof)
    expect("prove", proven.status.code == "ok", proven.status.message)
    return interface(proven.service, schema)


async def misuse_handshake(schemas, endpoint, token):
    for name in ("x" * 65, "red \x1b[31m", ""):
        _, answer, _, _ = await greet(schemas, endpoint, token, name)
        expect(f"a name of {len(name)} odd characters is refused", answer.status.code == "invalidArgument")
    handshake, _, proof, known = await greet(schemas, endpoint, b"a token that is wrong")
    expect("another token is not known", not known)
    proven = await handshake.prove(proof=proof)
    expect("and proves nothing", proven.status.code == "permissionDenied", proven.status.message)
    handshake, _, proof, _ = await greet(schemas, endpoint, token)
    again = await handshake.hello(hello={**versions(schemas), "nonce": b"0" * 16, "name": "twice"})
    expect("a second hello is refused", again.status.code == "failedPrecondition", again.status.message)


async def serving(scheduler):
    for _ in range(200):
        answer = await scheduler.shardMap(knownVersion=0)
        if answer.status.code == "ok" and all(s.state == "serving" for s in answer.map.shards):
            return answer.map
        await asyncio.sleep(0.1)
    expect("all shards are served", False)


def keys_by_shard(table, shards, count):
    keys = {}
    for key in range(1, 100000):
        keys.setdefault(shard_of(key, table, shards), []).append(key)
        if len(keys) == shards and min(map(len, keys.values())) >= count:
            return {shard: found[:count] for shard, found in keys.items()}


def packed(keys):
    return struct.pack(f"<{len(keys)}Q", *keys)


async def push(server, table, entries, producer, sequence, values, keys=None):
    """entries: (shard, epoch, keys) each."""
    every = [key for _, _, keys_ in entries for key in keys_] if keys is None else keys
    groups = [{"shard": s, "epoch": e, "count": len(k)} for s, e, k in entries]
    request = {
        "producer": producer,
        "sequence": sequence,
        "low": 0,
        "tables": [{"table": table, "groups": groups, "keys": packed(every), "values": struct.pack(f"<{len(values)}f", *values)}],
    }
    for _ in range(100):
        answer = await server.push(request=request)
        codes = [g.code for g in answer.response.tables[0].groups] if answer.status.code == "ok" else []
        if "unavailable" not in codes:  # a server that does not know the table yet
            return answer
        await asyncio.sleep(0.05)
    return answer


async def pull(server, table, entries):
    every = [key for _, _, keys in entries for key in keys]
    groups = [{"shard": s, "epoch": e, "count": len(k)} for s, e, k in entries]
    return await server.pull(request={"tables": [{"table": table, "groups": groups, "keys": packed(every)}]})


async def use_tables(schemas, scheduler, token):
    shard_map = await serving(scheduler)
    shards = len(shard_map.shards)
    created = await scheduler.createTable(spec={"name": "foreign/adds", "dim": 2, "optimizer": {"kind": 1}})
    expect("a table with unset fields", created.status.code == "ok", created.status.message)
    table = created.spec.id
    created = await scheduler.createTable(spec={"name": "foreign/defaults"})
    expect("a table of a name alone", created.status.code == "ok", created.status.message)
    expect("has one value a row, sgd and durability logged",
           (created.spec.dim, created.spec.optimizer.kind, created.spec.durability) == (1, 2, "logged"))
    refused = await scheduler.createTable(spec={"name": "foreign/odd", "optimizer": {"kind": 1, "momentum": 0.5}})
    expect("a field without meaning is refused by name",
           refused.status.code == "invalidArgument" and "momentum" in refused.status.message, refused.status.message)
    producers = await scheduler.newProducers(count=1)
    producer = producers.first
    expect("a producer", producers.status.code == "ok" and producers.shardCount == shards)

    keys = keys_by_shard(table, shards, 2)
    servers = {}
    for entry in shard_map.shards:
        if entry.endpoint not in servers:
            servers[entry.endpoint] = await enter(schemas, entry.endpoint, token, schemas["data"].DataPlane)
    first = shard_map.shards[0]
    server = servers[first.endpoint]
    other = next(s for s in range(1, shards) if shard_map.shards[s].endpoint == first.endpoint)
    mine = [(0, first.epoch, keys[0])]
    values = [1.0, 2.0, 3.0, 4.0]

    answer = await push(server, table, mine, producer, 0, values)
    expect("push", answer.status.code == "ok" and answer.response.tables[0].groups[0].code == "ok", str(answer))
    answer = await push(server, table, mine, producer, 0, values)
    expect("the same push again", answer.response.tables[0].groups[0].code == "ok", str(answer))
    answer = await pull(server, table, mine)
    got = struct.unpack("<4f", answer.response.tables[0].values)
    expect("pull: it counts once", list(got) == values, str(got))

    astray = [(0, first.epoch, [keys[0][0], keys[other][0]])]
    answer = await push(server, table, astray, producer, 1, values)
    group = answer.response.tables[0].groups[0]
    expect("push: a key of another shard is refused", group.code == "invalidArgument" and str(keys[other][0]) in group.message, str(answer))
    answer = await pull(server, table, astray)
    group = answer.response.tables[0].groups[0]
    expect("pull: likewise", group.code == "invalidArgument", str(answer))
    answer = await pull(server, table, mine)
    expect("and nothing of it was applied", list(struct.unpack("<4f", answer.response.tables[0].values)) == values)

    answer = await push(server, table, mine, producer, 2, values[:3])
    expect("push: values that are missing", answer.response.tables[0].groups[0].code == "invalidArgument", str(answer))
    answer = await push(server, table, mine, producer, 3, [float("nan")] * 4)
    expect("push: values that are no numbers", answer.response.tables[0].groups[0].code == "invalidArgument", str(answer))
    answer = await push(server, table, mine, producer, 4, values, keys=keys[0][:1])
    expect("push: keys that are missing", answer.status.code == "invalidArgument", answer.status.message)
    answer = await push(server, table, mine, 0, 5, values)
    expect("push: no producer", answer.status.code == "invalidArgument", answer.status.message)
    answer = await push(server, table, [(0, first.epoch + 1, keys[0])], producer, 6, values)
    expect("push: another epoch", answer.response.tables[0].groups[0].code == "wrongEpoch", str(answer))
    answer = await pull(server, table, mine * 65537)
    expect("pull: too many groups", answer.status.code == "invalidArgument", answer.status.message)

    for name, refusal in {
        "fold": server.fold(),
        "expire": server.expire(table=table, dryRun=True, shards=[{"shard": 0, "epoch": first.epoch}]),
    }.items():
        refused = await refusal
        expect(f"'{name}' is not for a client", refused.status.code == "permissionDenied" and "operator" in refused.status.message)
    answer = await pull(server, table, mine)
    expect("the server lives on", list(struct.unpack("<4f", answer.response.tables[0].values)) == values)


async def misuse_scheduler(scheduler):
    for name, refusal in {
        "acceptLoss": scheduler.acceptLoss(shard=0),
        "setCopies": scheduler.setCopies(copies=3, minCopies=3),
        "forceShard": scheduler.forceShard(shard=0, node=1),
        "removeNode": scheduler.removeNode(node=1),
        "cannotStart": call(scheduler, "cannotStart", name="server-0", reason="none"),
        "register": call(scheduler, "register", role="server", name="rogue", endpoints=["127.0.0.1:1"], highestTerm=1000),
    }.items():
        refused = await refusal
        expect(f"'{name}' is not for a client", refused.status.code == "permissionDenied", str(refused))
    nested = '{"name": "x", "passes": ' + "[" * 100000 + "]" * 100000 + "}"
    refused = await scheduler.submitJob(spec=nested)
    expect("a job text nested 100000 deep", refused.status.code == "invalidArgument" and len(refused.status.message) < 500,
           refused.status.message[:500])
    answer = await call(scheduler, "inspect", what="status", name="")
    expect("the scheduler lives on", answer.status.code == "ok", answer.status.message)


async def main(folder, endpoint, token_file):
    schemas = load(folder)
    with open(token_file, "rb") as file:
        token = file.readline().strip()
    scheduler = await enter(schemas, endpoint, token, schemas["control"].Scheduler)
    await misuse_handshake(schemas, endpoint, token)
    await use_tables(schemas, scheduler, token)
    await misuse_scheduler(scheduler)


if __name__ == "__main__":
    asyncio.run(capnp.run(main(*sys.argv[1:])))
