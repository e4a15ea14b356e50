// How a server leaves a cluster of a suite as an operator has it leave: drained, ended, removed.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tests/chaos/chaos_cluster.h"

namespace penstock {

// As `penstock node ls` shows it; null: the scheduler cannot be asked or does not know it.
nlohmann::json FindNode(ChaosCluster& cluster, const std::string& name);

Status Leave(ChaosCluster& cluster, const std::string& name);

}  // namespace penstock
