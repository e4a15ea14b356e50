// The names of a job's tables, and the tables that keep its best weights.
//
// Every run of a job has tables of its own: the model's table "<job name>/<what>" is "<job name>.<job
// id>/<what>" in the cluster, and with train.keep_best what it held after the best pass is in "<job
// name>.<job id>/best/<what>".
#pragma once

#include <string>

#include "common/cluster/table_spec.h"

namespace penstock {

std::string JobTableName(const std::string& job_name, uint32_t job, const std::string& model_table);
std::string BestTableName(const std::string& job_name, uint32_t job, const std::string& model_table);

// For copies of the rows of `table`; without id, and of the same name.
TableSpec BestTable(const TableSpec& table);

}  // namespace penstock
