// penstock config: explains options, and prints annotated samples and tables for the docs, from the
// declarations that the programs use.
#include <cstdlib>

#include "common/config/cluster_options.h"
#include "job/job_spec.h"
#include "tools/cli/commands.h"
#include "tools/cli/exit_code.h"

namespace penstock {
namespace {

constexpr char kJobIntro[] =
    "A training job, all options at their defaults. Run it with `penstock train FILE`; single keys are "
    "overridden with --set section.key=value.";

// A job is what its file and --set say, wherever it is submitted from; the environment is for processes.
void DropEnvironmentLine(std::string* text) {
  const size_t begin = text->find("  environment:");
  if (begin != std::string::npos) text->erase(begin, text->find('\n', begin) - begin + 1);
}

}  // namespace

Result<int> RunConfig(const Arguments& arguments, Console& console) {
  ClusterOptions cluster;
  OptionSet cluster_set;
  cluster.Declare(cluster_set);
  JobSpec job;
  OptionSet job_set;
  job.Declare(&job_set);
  if (arguments.command == "config sample") {
    console.out << (arguments.name == "job" ? job_set.Sample(kJobIntro)
                                            : cluster_set.Sample(ClusterSampleIntro()));
    return kExitOk;
  }
  if (arguments.command == "config docs") {
    console.out << (arguments.name == "job" ? job_set.Markdown() : cluster_set.Markdown());
    return kExitOk;
  }
  const bool of_job = job_set.HasSection(arguments.name.substr(0, arguments.name.find('.')));
  if (!of_job)
    PENSTOCK_RETURN_IF_ERROR(cluster_set.LoadEnvironment([](const char* name) { return std::getenv(name); }));
  auto text = of_job ? job_set.Explain(arguments.name) : cluster_set.Explain(arguments.name);
  if (!text.ok()) return InvalidArgument(text.status().message());
  if (of_job) DropEnvironmentLine(&*text);
  console.out << *text << (text->ends_with('\n') ? "" : "\n");
  return kExitOk;
}

}  // namespace penstock
