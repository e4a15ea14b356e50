// Namespaces: network namespaces of Linux, one for each process of a cluster, joined by a bridge, in which
// what one process sends to another can be lost.
//
// Nothing of the machine's own network is touched, and all is gone with the processes and this object.
//
// A packet is lost because its sender has a hardware address for the receiver that nobody has. TCP sees what
// it sees when a real link is silent: it sends again, less and less often, and goes on some time after the
// link is whole.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/status.h"

namespace penstock {

class Namespaces {
 public:
  // The calling thread is in the namespace of the first of `names` from now on, and with it the threads and
  // programs that it starts; the destructor, on the same thread, takes it back. kUnavailable: why this
  // machine cannot do it.
  static Result<std::unique_ptr<Namespaces>> Make(const std::vector<std::string>& names);
  ~Namespaces();
  Namespaces(const Namespaces&) = delete;
  Namespaces& operator=(const Namespaces&) = delete;

  const std::string& address(const std::string& name) const { return members_.at(name).address; }
  // While it lives the calling thread is in that namespace: what it starts stays there.
  class Inside {
   public:
    Inside(int there, int back);
    ~Inside();
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

   private:
    const int back_;
  };
  Inside Enter(const std::string& name) const { return {members_.at(name).fd, members_.at(hub_).fd}; }

  // All that `from` sends to `to` is lost, until Heal.
  Status Cut(const std::string& from, const std::string& to);
  Status Heal();

 private:
  struct Member {
    int fd = -1;
    std::string address, hardware;
  };

  explicit Namespaces(std::string hub) : hub_(std::move(hub)) {}
  Status Build(const std::vector<std::string>& names);
  Status Join(const std::string& name);
  // One command of `ip` a line, in the namespace of `name`.
  Status Ip(const std::string& name, const std::string& commands) const;

  const std::string hub_;  // whose namespace has the bridge
  int machine_ = -1;       // where the thread was before
  std::map<std::string, Member> members_;
};

}  // namespace penstock
