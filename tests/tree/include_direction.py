#!/usr/bin/python3
"""Refuses includes that point the wrong way: proto <- common <- {client | job <- model <- data}
<- {server | worker | scheduler} <- serving, python, tools; and includes that go round in a circle.

  include_direction.py ROOT        checks the tree at ROOT; exits with 1 and one line for each wrong include and each circle
  include_direction.py --selftest  shows on planted trees that each kind of wrong include and of circle is found

Includes in quotes are paths from the root of the tree. Within a folder anything goes, but common/base may not use the rest of common,
the rooms of server stand in order (shard <- storage <- replica <- node), and in the folders of NO_CIRCLES x.h and x.cc count as one,
which may not include anything that includes it in turn.
"""
import os
import re
import sys
import tempfile

# What each folder may include beside itself.
ALLOWED = {"proto": (), "common": ("proto",)}
ALLOWED["client"] = ALLOWED["job"] = ("proto", "common")
ALLOWED["model"] = ("proto", "common", "job")
ALLOWED["data"] = ("proto", "common", "job", "model")
ALLOWED["server"] = ("proto", "common")
ALLOWED["scheduler"] = ("proto", "common", "job", "model")
ALLOWED["worker"] = ("proto", "common", "client", "job", "model", "data")
ALLOWED["serving"] = ALLOWED["python"] = ALLOWED["tools"] = ALLOWED["worker"] + ("server", "scheduler", "worker")
# Rooms of a folder in their order: each may include only itself and those before it.
ROOMS = ("server/shard/", "server/storage/", "server/replica/", "server/node/")
NO_CIRCLES = ("client", "server")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<((?:%s)/[^>]+)>)' % "|".join(ALLOWED))
SOURCE = (".h", ".cc", ".cu", ".cuh", ".inl")


def complaint(root, source, target):
    """Why the file `source` may not include `target` (both relative to root), or None."""
    top, other = source.split("/")[0], target.split("/")[0]
    if ".." in target.split("/") or other not in ALLOWED:
        return "is not a path from the root of the tree, beginning with one of: " + ", ".join(ALLOWED)
    generated = target.endswith(".capnp.h") and os.path.exists(os.path.join(root, target[:-2]))
    if not generated and not os.path.exists(os.path.join(root, target)):
        return "does not exist"
    if top != other and other not in ALLOWED[top]:
        return f"points the wrong way: {top} may include only " + ", ".join((*ALLOWED[top], top))
    if source.startswith("common/base/") and not target.startswith("common/base/"):
        return "points the wrong way: common/base stands below the rest of common"
    room, other_room = (next((r for r in ROOMS if path.startswith(r)), None) for path in (source, target))
    if room and other_room and ROOMS.index(room) < ROOMS.index(other_room):
        return f"points the wrong way: {room} stands below {other_room}"
    return None


def circles(includes):
    """One circle of each group of files that include each other, as "a -> b -> a"; `includes` is {file: those that it includes}."""
    found, done = [], set()
    for start in sorted(includes):
        path, seen = [start], {start}
        # The shortest way from `start` back to itself.
        ways = [path]
        while ways and start not in done:
            path = ways.pop(0)
            for target in sorted(includes.get(path[-1], ())):
                if target == start:
                    found.append(" -> ".join((*path, start)))
                    done.update(path)
                    break
                if target not in seen:
                    seen.add(target)
                    ways.append([*path, target])
    return found


def check(root):
    complaints, files, includes = [], 0, {}
    for top in ALLOWED:
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(n for n in names if n.endswith(SOURCE)):
                path = os.path.join(folder, name)
                source = os.path.relpath(path, root)
                files += 1
                with open(path, encoding="utf-8") as lines:
                    for number, line in enumerate(lines, 1):
                        match = INCLUDE.match(line)
                        target = match and (match.group(1) or match.group(2))
                        why = match and complaint(root, source, target)
                        if why:
                            complaints.append(f"{source}:{number}: {line.strip()} {why}")
                        if match and top in NO_CIRCLES and target.startswith(top + "/"):
                            pair, other = os.path.splitext(source)[0], os.path.splitext(target)[0]
                            if pair != other:
                                includes.setdefault(pair, set()).add(other)
    complaints += [f"includes go round in a circle: {circle}" for circle in circles(includes)]
    return complaints, files


def selftest():
    headers = ["common/base/a.h", "common/net/a.h", "model/a.h", "server/a.h", "worker/a.h", "scheduler/a.h",
               "client/a.h", "job/a.h", "data/a.h", "tools/a.h", "serving/a.h", "proto/data.capnp",
               "server/shard/a.h", "server/storage/a.h", "server/replica/a.h", "server/node/a.h"]
    right = [("common/net/x.cc", "common/base/a.h"), ("common/net/x.cc", "proto/data.capnp.h"),
             ("model/x.cc", "common/net/a.h"), ("server/x.cc", "server/a.h"), ("worker/x.cc", "model/a.h"),
             ("tools/x.cc", "scheduler/a.h"), ("common/base/x.cc", "common/base/a.h"), ("client/x.cc", "common/net/a.h"),
             ("model/x.cc", "job/a.h"), ("data/x.cc", "model/a.h"), ("worker/x.cc", "client/a.h"), ("scheduler/x.cc", "job/a.h"),
             ("server/node/x.cc", "server/replica/a.h"), ("server/replica/x.cc", "server/storage/a.h"), ("server/storage/x.h", "server/shard/a.h"),
             ("server/replica/x.h", "server/replica/a.h"), ("server/shard/x.cc", "server/a.h"), ("server/x.cc", "server/node/a.h")]
    wrong = [("common/net/x.cc", "model/a.h"), ("common/base/x.cc", "common/net/a.h"), ("model/x.h", "server/a.h"),
             ("common/base/x.cc", "proto/data.capnp.h"), ("server/x.cc", "worker/a.h"), ("worker/x.cc", "scheduler/a.h"),
             ("scheduler/x.h", "server/a.h"), ("server/x.cc", "tools/a.h"), ("tools/x.cc", "serving/a.h"),
             ("server/x.cc", "a.h"), ("server/x.cc", "server/missing.h"), ("server/x.cc", "server/../worker/a.h"),
             ("server/x.cc", "proto/missing.capnp.h"), ("server/x.cc", "client/a.h"), ("scheduler/x.cc", "client/a.h"),
             ("job/x.cc", "model/a.h"), ("model/x.cc", "data/a.h"), ("client/x.cc", "job/a.h"),
             ("server/replica/x.cc", "server/node/a.h"), ("server/shard/x.h", "server/storage/a.h"), ("server/shard/x.cc", "server/replica/a.h"),
             ("server/storage/x.cc", "server/replica/a.h"), ("server/storage/x.h", "server/node/a.h"), ("server/shard/x.cc", "server/node/a.h")]
    for cases, expected in ((right, 0), (wrong, 1)):
        for source, target in cases:
            for quotes in ('"%s"', "<%s>") if "/" in target else ('"%s"',):
                with tempfile.TemporaryDirectory() as root:
                    for path in headers + [source]:
                        os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                        open(os.path.join(root, path), "w").close()
                    with open(os.path.join(root, source), "w") as out:
                        out.write("// a comment\n#include <vector>\n  #  include " + quotes % target + "\n")
                    found, _ = check(root)
                    if len(found) != expected:
                        sys.exit(f"selftest: {source} includes {target}: expected {expected} complaints, got {found}")
    print(f"selftest: {len(right)} right and {len(wrong)} wrong includes told apart")
    # Trees of {file: what it includes}, and the circles that are there.
    trees = [({"client/x.h": (), "client/x.cc": ("client/x.h", "client/y.h"), "client/y.h": ("client/z.h",), "client/z.h": ()}, []),
             ({"client/x.h": ("client/y.h",), "client/y.h": ("client/x.h",)}, ["client/x -> client/y -> client/x"]),
             ({"client/x.h": (), "client/x.cc": ("client/y.h",), "client/y.h": ("client/x.h",)}, ["client/x -> client/y -> client/x"]),
             ({"client/w.h": ("client/x.h",), "client/x.h": (), "client/x.cc": ("client/y.h",), "client/y.h": (), "client/y.cc": ("client/z.h",),
               "client/z.h": ("client/x.h", "client/y.h"), "client/u.h": ("client/v.h",), "client/v.h": ("client/u.h",)},
              ["client/u -> client/v -> client/u", "client/x -> client/y -> client/z -> client/x"]),
             ({"tools/x.h": ("tools/y.h",), "tools/y.h": ("tools/x.h",)}, [])]
    for tree, expected in trees:
        with tempfile.TemporaryDirectory() as root:
            for path, targets in tree.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w") as out:
                    out.write("".join(f'#include "{target}"\n' for target in targets))
            found, _ = check(root)
            if found != [f"includes go round in a circle: {circle}" for circle in expected]:
                sys.exit(f"selftest: {tree}: expected the circles {expected}, got {found}")
    print(f"selftest: the circles of {len(trees)} trees found")


def main():
    if sys.argv[1:] == ["--selftest"]:
        return selftest()
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    complaints, files = check(sys.argv[1])
    if files == 0:
        sys.exit(f"{sys.argv[1]}: no source files there")
    for line in complaints:
        print(line)
    print(f"{files} files, {len(complaints)} complaints")
    sys.exit(1 if complaints else 0)


main()
