#include "common/config/process_options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>

namespace penstock {

Result<ClusterOptions> LoadProcessOptions(int argc, char** argv, const std::string& program,
                                          const std::string& summary) {
  CLI::App app(summary, program);
  std::string config;
  std::vector<std::string> assignments;
  app.add_option("--config", config, "cluster file (conf/cluster.toml is an annotated sample)");
  app.add_option("--set", assignments,
                 "section.key=value, over the file and the environment; may be repeated");
  app.set_version_flag("--version", PENSTOCK_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    std::exit(app.exit(e));
  } catch (const CLI::ParseError& e) {
    return InvalidArgument(std::string(e.what()) + " (see " + program + " --help)");
  }
  ClusterOptions values;
  OptionSet options;
  values.Declare(options);
  if (!config.empty()) RETURN_IF_ERROR(options.LoadFile(config));
  RETURN_IF_ERROR(options.LoadEnvironment([](const char* name) { return std::getenv(name); }));
  for (const auto& assignment : assignments) RETURN_IF_ERROR(options.Set(assignment, "--set"));
  RETURN_IF_ERROR(options.Validate());
  RETURN_IF_ERROR(values.Check());
  return values;
}

Status RequireScheduler(const ClusterOptions& options) {
  if (!options.cluster.scheduler.empty()) return Status::Ok();
  return InvalidArgument(
      "cluster.scheduler must be given: host:port, or the path of the scheduler's address file");
}

}  // namespace penstock
