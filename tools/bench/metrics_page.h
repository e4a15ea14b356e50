// ReadMetric: a value of a process's /metrics.
#pragma once

#include <string>

#include "common/base/status.h"

namespace penstock {

// `address_file`: the process's http_address, "host:port" with an address of IPv4. `metric` has no labels.
// kUnavailable: nobody answers there; kNotFound: no such metric.
Result<double> ReadMetric(const std::string& address_file, const std::string& metric);

}  // namespace penstock
