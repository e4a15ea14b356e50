#include "tests/chaos/namespaces.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/strings.h"

namespace penstock {
namespace {

constexpr char kDevice[] = "net0";               // of each member in its namespace
constexpr char kNobody[] = "02:00:00:00:00:00";  // hardware address

int OpenCurrent() { return ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }

}  // namespace

// A thread that stayed where it should not be would reach for the wrong network.
Namespaces::Inside::Inside(int there, int back) : back_(back) {
  if (::setns(there, CLONE_NEWNET) != 0) ::abort();
}
Namespaces::Inside::~Inside() {
  if (::setns(back_, CLONE_NEWNET) != 0) ::abort();
}

Result<std::unique_ptr<Namespaces>> Namespaces::Make(const std::vector<std::string>& names) {
  std::unique_ptr<Namespaces> made(new Namespaces(names.front()));
  PENSTOCK_RETURN_IF_ERROR(made->Build(names));
  return made;
}

Namespaces::~Namespaces() {
  if (!members_.empty() && ::setns(machine_, CLONE_NEWNET) != 0) ::abort();
  if (machine_ >= 0) ::close(machine_);
  for (const auto& [name, member] : members_) ::close(member.fd);
}

Status Namespaces::Build(const std::vector<std::string>& names) {
  machine_ = OpenCurrent();
  if (machine_ < 0) return Unavailable("this system has no network namespaces");
  for (size_t i = 0; i < names.size(); ++i) {
    if (::unshare(CLONE_NEWNET) != 0) return ErrnoStatus(errno, "a network namespace").Prepend("run as root");
    // Below 100 members.
    const std::string number = StrCat(i + 10);
    members_[names[i]] = {
        .fd = OpenCurrent(), .address = "10.77.0." + number, .hardware = "02:00:00:00:00:" + number};
  }
  if (::setns(members_.at(hub_).fd, CLONE_NEWNET) != 0) return ErrnoStatus(errno, "setns");
  PENSTOCK_RETURN_IF_ERROR(Ip(hub_, StrCat("link add ", kDevice, " type bridge")));
  for (const auto& name : names) PENSTOCK_RETURN_IF_ERROR(Join(name));
  return Heal();
}

Status Namespaces::Join(const std::string& name) {
  const Member& member = members_.at(name);
  if (name != hub_) {
    const std::string port = "port-" + member.address.substr(member.address.rfind('.') + 1);
    PENSTOCK_RETURN_IF_ERROR(
        Ip(hub_, StrCat("link add ", port, " type veth peer name ", kDevice, " netns /proc/", ::getpid(),
                        "/fd/", member.fd, "\n", "link set ", port, " master ", kDevice, " up")));
  }
  return Ip(name, StrCat("link set lo up\n", "link set ", kDevice, " address ", member.hardware, " up\n",
                         "address add ", member.address, "/24 dev ", kDevice));
}

Status Namespaces::Ip(const std::string& name, const std::string& commands) const {
  const Inside inside = Enter(name);
  FILE* ip = ::popen(StrCat("ip -batch - 2>&1 <<'END'\n", commands, "\nEND\n").c_str(), "r");
  if (ip == nullptr) return ErrnoStatus(errno, "ip");
  std::string output;
  for (int c; (c = ::fgetc(ip)) != EOF;) output += static_cast<char>(c);
  return ::pclose(ip) == 0 ? Status::Ok() : Unavailable(StrCat("ip ", commands, ": ", output));
}

Status Namespaces::Cut(const std::string& from, const std::string& to) {
  return Ip(from, StrCat("neighbour replace ", members_.at(to).address, " lladdr ", kNobody,
                         " nud permanent dev ", kDevice));
}

// All entries are permanent, so that nobody ever has to ask for one, which a cut would disturb the other way
// round.
Status Namespaces::Heal() {
  for (const auto& [name, member] : members_) {
    std::string commands;
    for (const auto& [other, of_other] : members_) {
      if (other != name)
        commands += StrCat("neighbour replace ", of_other.address, " lladdr ", of_other.hardware,
                           " nud permanent dev ", kDevice, "\n");
    }
    PENSTOCK_RETURN_IF_ERROR(Ip(name, commands));
  }
  return Status::Ok();
}

}  // namespace penstock
