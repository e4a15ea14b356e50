#include "tools/cli/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "common/base/strings.h"
#include "common/base/suggest.h"
#include "tools/cli/bench_arguments.h"
#include "tools/cli/exit_code.h"

namespace penstock {
namespace {

class Parser {
 public:
  explicit Parser(Arguments* arguments)
      : a_(*arguments), app_("A parameter server: launches, trains, inspects and measures.", "penstock") {
    app_.require_subcommand(1);
    app_.set_version_flag("--version", std::string("penstock ") + PENSTOCK_VERSION);
    AddLaunch();
    AddTraining();
    AddInspection();
    AddBench();
    AddConfig();
    Command(&app_, "version", "Print the version");
  }

  CLI::App& app() { return app_; }

  // CLI11 would only say that a subcommand is missing. Of a word that is no command: what to say of it; else
  // "".
  std::string UnknownCommand(int argc, const char* const* argv) const {
    const CLI::App* level = &app_;
    for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
      std::vector<std::string> names, shown;
      for (const CLI::App* command : level->get_subcommands([](const CLI::App*) { return true; })) {
        names.push_back(command->get_name());
        if (!command->get_group().empty()) shown.push_back(command->get_name());
      }
      if (names.empty()) return "";
      if (std::find(names.begin(), names.end(), argv[i]) == names.end()) {
        const std::string near = Suggest(argv[i], shown);
        return "'" + std::string(argv[i]) + "' is no command of " +
               (level == &app_ ? "penstock" : "penstock " + level->get_name()) +
               (near.empty() ? ": there are " + StrJoin(shown, ", ") : ": did you mean '" + near + "'?");
      }
      level = level->get_subcommand(argv[i]);
    }
    return "";
  }

 private:
  // `parent` may be a group such as `node`; the command's name is then "node ls".
  CLI::App* Command(CLI::App* parent, const std::string& name, const std::string& help) {
    CLI::App* command = parent->add_subcommand(name, help);
    const std::string full = parent == &app_ ? name : parent->get_name() + " " + name;
    command->callback([this, full] { a_.command = full; });
    return command;
  }

  CLI::App* Group(const std::string& name, const std::string& help) {
    CLI::App* group = app_.add_subcommand(name, help);
    group->require_subcommand(1);
    return group;
  }

  CLI::Option* DataDir(CLI::App* command) {
    return command->add_option("--data-dir", a_.target.data_dir,
                               "folder of the cluster (default: $PENSTOCK_DATA_DIR, or ./penstock-data)");
  }

  CLI::Option* Target(CLI::App* command) {
    CLI::Option* data_dir = DataDir(command);
    CLI::Option* scheduler = command->add_option("--scheduler", a_.target.scheduler,
                                                 "host:port of a scheduler, instead of --data-dir");
    scheduler->excludes(data_dir);
    command
        ->add_option("--token-file", a_.target.token_file,
                     "the operator's token, or a client's, with --scheduler")
        ->needs(scheduler);
    return scheduler;
  }

  void Output(CLI::App* command) {
    static const std::map<std::string, OutputFormat> kFormats{{"table", OutputFormat::kTable},
                                                              {"json", OutputFormat::kJson}};
    command->add_option("-o,--output", a_.output, "table or json")
        ->transform(CLI::Transformer(kFormats).description(""))
        ->type_name("FORMAT");
  }

  void Nodes(CLI::App* command, const std::string& default_text) {
    command->add_option("--servers", a_.servers, "how many servers (default: " + default_text + ")")
        ->check(CLI::Range(1, 4096));
    command->add_option("--workers", a_.workers, "how many pool workers (default: " + default_text + ")")
        ->check(CLI::Range(0, 4096));
  }

  void Set(CLI::App* command, const std::string& help) {
    command->add_option("--set", a_.assignments, help)
        ->type_name("SECTION.KEY=VALUE")
        ->allow_extra_args(false);
  }

  void AddLaunch() {
    CLI::App* up =
        Command(&app_, "up", "Start a cluster on this machine, and go on with its unfinished jobs");
    DataDir(up);
    Nodes(up, "as last time in this folder, else 1");
    up->add_flag("-d,--detach", a_.detach, "go to the background when the cluster is ready");
    up->add_option("--config", a_.config,
                   "cluster file (see `penstock config sample`); remembered in the folder");
    Set(up, "an option of the cluster, over the file; may be repeated; remembered in the folder");
    up->add_option("--ready-seconds", a_.ready_seconds, "how long to wait until it is ready (default 60)")
        ->check(CLI::Range(1, 86400));
    CLI::App* down = Command(&app_, "down", "End the cluster that `penstock up` started; its data stay");
    DataDir(down);
  }

  void AddTraining() {
    CLI::App* train = Command(&app_, "train", "Submit a training job and follow it");
    train->add_option("job_file", a_.job_file, "the job (conf/jobs has examples)")
        ->required()
        ->type_name("JOB.toml");
    CLI::Option* scheduler = Target(train);
    CLI::Option* local = train->add_flag("--local", a_.local, "in a private cluster that ends with the job");
    local->excludes(scheduler)->excludes(train->get_option("--data-dir"));
    train->add_option("--servers", a_.servers, "with --local: how many servers (default 1)")
        ->check(CLI::Range(1, 4096))
        ->needs(local);
    train->add_option("--workers", a_.workers, "with --local: how many workers (default 1)")
        ->check(CLI::Range(1, 4096))
        ->needs(local);
    Set(train, "a key of the job, over the file; may be repeated");
    train->add_option("--report", a_.report, "write the result as JSON to this file")->type_name("FILE");

    CLI::App* evaluate = Command(&app_, "evaluate", "Metrics of a job, or of its weights on other data");
    evaluate->add_option("job", a_.id, "id of the job")->required()->type_name("JOB");
    evaluate
        ->add_option("--data", a_.data, "evaluate the weights on this file, in the format of the job's data")
        ->type_name("FILE");
    evaluate->add_option("--labels", a_.labels, "idx: the labels of --data")
        ->type_name("FILE")
        ->needs("--data");
    Target(evaluate);
    Output(evaluate);
  }

  CLI::App* Inspect(CLI::App* parent, const std::string& name, const std::string& help) {
    CLI::App* command = Command(parent, name, help);
    Target(command);
    Output(command);
    return command;
  }

  void AddInspection() {
    Inspect(&app_, "status", "The cluster at a glance; ends with 10 when something is wrong");
    Inspect(Group("node", "Servers and workers"), "ls", "All nodes");

    CLI::App* job = Group("job", "Training jobs");
    Inspect(job, "ls", "All jobs");
    Inspect(job, "show", "One job")->add_option("job", a_.id, "id of the job")->required()->type_name("JOB");
    CLI::App* cancel = Command(job, "cancel", "End a job; its weights stay as they are");
    cancel->add_option("job", a_.id, "id of the job")->required()->type_name("JOB");
    Target(cancel);
    CLI::App* pause = Command(job, "pause", "Work on none of a job's partitions until it is resumed");
    pause->add_option("job", a_.id, "id of the job")->required()->type_name("JOB");
    Target(pause);
    CLI::App* resume = Command(job, "resume", "Go on with a paused job where it was");
    resume->add_option("job", a_.id, "id of the job")->required()->type_name("JOB");
    Target(resume);
    Inspect(job, "clocks", "How far the workers of an ssp job are, and how far any was ever ahead")
        ->add_option("job", a_.id, "id of the job")
        ->required()
        ->type_name("JOB");
    Inspect(job, "partitions", "Who works on which partition, and how far they are")
        ->add_option("job", a_.id, "id of the job")
        ->required()
        ->type_name("JOB");

    CLI::App* shard = Group("shard", "Slices of the key space");
    Inspect(shard, "ls", "All shards");
    Inspect(shard, "show", "One shard")
        ->add_option("shard", a_.id, "number of the shard")
        ->required()
        ->type_name("SHARD");
    CLI::App* accept = Command(shard, "accept-loss", "Let a quarantined shard go on with what is left of it");
    accept->add_option("shard", a_.id, "number of the shard")->required()->type_name("SHARD");
    Target(accept);

    CLI::App* force =
        Command(shard, "force",
                "Let a shard that nobody serves go on with one server's copy of it, though others that "
                "were in sync have not come back");
    force->add_option("shard", a_.id, "number of the shard")->required()->type_name("SHARD");
    force->add_option("node", a_.node, "id of the server (see `penstock node ls`)")
        ->required()
        ->type_name("NODE");
    Target(force);
    AddCluster();

    CLI::App* table = Group("table", "Tables of weights");
    Inspect(table, "ls", "All tables");
    Inspect(table, "describe", "One table")
        ->add_option("name", a_.name, "name of the table")
        ->required()
        ->type_name("NAME");
    CLI::App* get = Inspect(table, "get", "Values of some rows");
    get->add_option("name", a_.name, "name of the table")->required()->type_name("NAME");
    get->add_option("keys", a_.keys, "keys of rows")->required()->type_name("KEY");
    CLI::App* expire =
        Inspect(table, "expire",
                "Delete the rows that are due by the table's rules of expiry now, not at the next interval");
    expire->add_option("name", a_.name, "name of the table")->required()->type_name("NAME");
    expire->add_flag("--dry-run", a_.dry_run, "only count them");
  }

  void AddCluster() {
    CLI::App* copies =
        Command(Group("cluster", "The cluster as a whole"), "copies",
                "Keep each shard on so many servers from now on; copies are made and given up while "
                "the cluster runs");
    copies->add_option("copies", a_.copies, "how many servers shall hold each shard")
        ->required()
        ->check(CLI::Range(1, 3))
        ->type_name("N");
    copies
        ->add_option("--min", a_.min_copies,
                     "with fewer copies in sync, pushes at `logged` and `synced` are refused (default 1)")
        ->check(CLI::Range(1, 3))
        ->type_name("M");
    Target(copies);
  }

  void AddBench() {
    AddBenchCommands(Group("bench", "Measurements"), &a_,
                     {.command = [this](CLI::App* parent, const std::string& name,
                                        const std::string& help) { return Command(parent, name, help); },
                      .output = [this](CLI::App* command) { Output(command); },
                      .target = [this](CLI::App* command) { return Target(command); }});
  }

  void AddConfig() {
    CLI::App* config = Group("config", "Options of clusters and jobs");
    CLI::App* explain = Command(config, "explain", "What an option means and what it may be");
    explain->add_option("key", a_.name, "such as server.cores or train.batch_size")
        ->required()
        ->type_name("SECTION.NAME");
    CLI::App* sample = Command(config, "sample", "An annotated file with every option at its default");
    a_.name = "cluster";
    sample->add_option("kind", a_.name, "cluster (default) or job")->check(CLI::IsMember({"cluster", "job"}));
    CLI::App* docs =
        Command(config, "docs", "Every option in tables of Markdown, as docs/training.md has them");
    docs->add_option("kind", a_.name, "cluster (default) or job")->check(CLI::IsMember({"cluster", "job"}));
  }

  Arguments& a_;
  CLI::App app_;
};

}  // namespace

std::optional<int> ParseArguments(int argc, const char* const* argv, Arguments* arguments, std::ostream& out,
                                  std::ostream& err) {
  Parser parser(arguments);
  if (const std::string unknown = parser.UnknownCommand(argc, argv); !unknown.empty()) {
    err << "penstock: " << unknown << "\n";
    return kExitUsage;
  }
  try {
    parser.app().parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return parser.app().exit(e, out, err) == 0 ? kExitOk : kExitUsage;
  }
  return std::nullopt;
}

}  // namespace penstock
