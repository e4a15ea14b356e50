// Listings that stay short: of many things with which all is well, a few lines say so. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace penstock {

// Of inspect "shards": a line for each server with what it serves, then each shard with which something is
// wrong, or each of them (`all`).
std::string ShardsText(const nlohmann::json& shards, bool all);
// Of one of them, a line for each member.
std::string ShardText(const nlohmann::json& shard);

// Of the jobs of inspect "status": all that have not ended, and the latest of the others. "" when there are
// none.
std::string JobsText(const nlohmann::json& jobs);

}  // namespace penstock
