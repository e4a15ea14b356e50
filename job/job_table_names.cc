#include "job/job_table_names.h"

namespace penstock {
namespace {

std::string Prefix(const std::string& job_name, uint32_t job) { return job_name + "." + std::to_string(job); }

// "/<what>"
std::string What(const std::string& model_table) { return model_table.substr(model_table.find('/')); }

}  // namespace

std::string JobTableName(const std::string& job_name, uint32_t job, const std::string& model_table) {
  return Prefix(job_name, job) + What(model_table);
}

std::string BestTableName(const std::string& job_name, uint32_t job, const std::string& model_table) {
  return Prefix(job_name, job) + "/best" + What(model_table);
}

TableSpec BestTable(const TableSpec& table) {
  TableSpec best{.name = table.name,
                 .dim = table.dim,
                 .initializer = table.initializer,
                 .seed = table.seed,
                 .durability = table.durability,
                 .allow_non_finite = table.allow_non_finite,
                 .dense_size = table.dense_size};  // not the codec: a copy is exact
  best.optimizer.kind = OptimizerKind::kAssign;
  return best;
}

}  // namespace penstock
