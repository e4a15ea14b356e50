// RebalanceSteps: each aim of a rebalance plan as a step that improves a placement until nothing is worth
// while.
//
// Each step accepts a move only if a cost falls that no other step of equal or lower rank raises, so the
// steps together come to an end: drains are never undone, copies never come nearer to each other than they
// must, and moves for the load leave the bytes as even as they are. Whether a move is worth while depends
// only on the placement; which of them comes first, also on where the plan began, because a copy that moves
// anyway may go elsewhere for nothing.
#pragma once

#include "scheduler/copies/rebalance_state.h"

namespace penstock {

// Each returns whether it moved anything.
bool DrainServers(RebalanceState* state);
bool SetApart(RebalanceState* state);
bool EvenBytes(RebalanceState* state);
bool EvenLeads(RebalanceState* state);
// For servers that are too hot after EvenLeads.
bool EvenLoadByCopies(RebalanceState* state);

// What one server has of the mean load, and the other.
MoveReason LoadReason(const RebalanceState& state, uint32_t from, uint32_t to);

// A part of the amount by which a move must lower the cost, or it is not worth while.
inline constexpr double kWorthWhile = 0.02;

// The servers that a step brings back to their share: those that have left the outer bounds, until they are
// within the inner ones. The farthest is the next.
class UnevenServers {
 public:
  UnevenServers(const RebalanceState& state, Gauge StateServer::*gauge, double start);
  // The number of servers: none is left.
  uint32_t Next();
  void GiveUp(uint32_t server) { given_up_[server] = true; }
  // After a move its servers may have left the bounds, or have come within them.
  void Check(uint32_t server);

 private:
  const RebalanceState& state_;
  Gauge StateServer::*gauge_;
  double start_;
  std::vector<bool> uneven_, given_up_;
};

}  // namespace penstock
