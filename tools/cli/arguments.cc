#include "tools/cli/arguments.h"

#include <CLI/CLI.hpp>
#include <cctype>
#include <limits>

#include "tools/cli/argument_checks.h"
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
    scheduler->excludes(data_dir)->check(SchedulerAddress());
    command
        ->add_option("--token-file", a_.target.token_file,
                     "the operator's token, or a client's, with --scheduler")
        ->needs(scheduler);
    return scheduler;
  }

  void Output(CLI::App* command) {
    command
        ->add_option_function<std::string>(
            "-o,--output",
            [this](const std::string& format) {
              a_.output = format == "json" ? OutputFormat::kJson : OutputFormat::kTable;
            },
            "table or json")
        ->check(OneOf({"table", "json"}))
        ->type_name("FORMAT");
  }

  void Nodes(CLI::App* command, const std::string& default_text) {
    command->add_option("--servers", a_.servers, "how many servers (default: " + default_text + ")")
        ->check(CLI::Range(0, 4096));
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
    up->add_option(
          "--address", a_.address,
          "address of this machine, at which the processes listen for those on others (default: this "
          "machine alone); remembered in the folder")
        ->check(NotEmpty());
    CLI::Option* join =
        up->add_option(
              "--join", a_.join,
              "no cluster of its own, but servers and workers of the one whose scheduler listens there; "
              "remembered in the folder")
            ->type_name("HOST:PORT")
            ->check(NotEmpty());
    up->add_option("--token-file", a_.join_token,
                   "with --join: a copy of the cluster's node.token, with its operator.token and "
                   "client.token beside it")
        ->type_name("FILE")
        ->needs(join);
    up->add_option(
          "--name", a_.node_name,
          "with --join: what the names of its servers and workers begin with (default: the machine's name)")
        ->needs(join);
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
    train->add_option("--report", a_.report, "write the result as JSON to this file")
        ->type_name("FILE")
        ->check(NotEmpty());

    CLI::App* evaluate = Command(&app_, "evaluate", "Metrics of a job, or of its weights on other data");
    Job(evaluate);
    evaluate
        ->add_option("--data", a_.data, "evaluate the weights on this file, in the format of the job's data")
        ->type_name("FILE");
    evaluate->add_option("--labels", a_.labels, "idx: the labels of --data")
        ->type_name("FILE")
        ->needs("--data");
    Target(evaluate);
    Output(evaluate);
  }

  void Name(CLI::App* command) {
    command->add_option("name", a_.name, "name of the table")->required()->type_name("NAME");
  }
  void Job(CLI::App* command) { Id(command, "job", "id of the job"); }

  // What the command is about, by its number.
  CLI::Option* Id(CLI::App* command, const std::string& name, const std::string& help,
                  uint32_t* id = nullptr) {
    std::string type = name;
    for (char& c : type) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return command->add_option(name, id == nullptr ? a_.id : *id, help)
        ->required()
        ->type_name(type)
        ->transform(WholeNumber(0, std::numeric_limits<uint32_t>::max()));
  }

  CLI::App* Inspect(CLI::App* parent, const std::string& name, const std::string& help) {
    CLI::App* command = Command(parent, name, help);
    Target(command);
    Output(command);
    return command;
  }

  void AddInspection() {
    Inspect(&app_, "status", "The cluster at a glance; ends with 10 when something is wrong");
    CLI::App* events =
        Inspect(&app_, "events",
                "What has happened: nodes that joined, moves, who leads in whose place, losses, jobs, the "
                "oldest first; the scheduler keeps the latest 1000");
    events->add_flag("-f,--follow", a_.follow, "go on with what happens, until it is ended");
    events->add_option("--after", a_.after, "only those after the event with this number")
        ->type_name("NUMBER");
    Target(Command(&app_, "fold",
                   "Let all servers fold their logs into their bases now, so that a start is short"));
    CLI::App* node = Group("node", "Servers and workers");
    Inspect(node, "ls", "All nodes")
        ->add_flag("--pids", a_.pids,
                   "only the process ids, of the scheduler and all others that run on this machine");
    CLI::App* drain = Command(node, "drain", "Have other servers take over all that a server holds");
    drain->add_option("node", a_.wanted, "name or id of the server")->required()->type_name("NODE");
    CLI::Option* wait = drain->add_flag(
        "--wait", a_.wait,
        "until it holds nothing; says why when none has gone for 5 s, and ends with 10 when none moves");
    drain->add_option("--timeout", a_.timeout_seconds, "with --wait: seconds, after which it ends with 5")
        ->needs(wait);
    Target(drain);
    CLI::App* undrain = Command(node, "undrain", "Let a server hold shards again");
    undrain->add_option("node", a_.wanted, "name or id of the server")->required()->type_name("NODE");
    Target(undrain);
    CLI::App* remove = Command(node, "remove", "Forget a dead node with which nothing is lost");
    Id(remove, "node", "id of the node (see `penstock node ls`)");
    Target(remove);

    AddJobs();
    AddShards();
    AddCluster();
    AddTables();
  }

  void AddJobs() {
    CLI::App* job = Group("job", "Training jobs");
    Inspect(job, "ls", "All jobs");
    Job(Inspect(job, "show", "One job"));
    Job(Inspect(job, "clocks", "How far the workers of an ssp job are, and how far any was ever ahead"));
    Job(Inspect(job, "partitions", "Who works on which partition, and how far they are"));
    for (const auto& [name, help] : {std::pair{"cancel", "End a job; its weights stay as they are"},
                                     {"pause", "Work on none of a job's partitions until it is resumed"},
                                     {"resume", "Go on with a paused job where it was"}}) {
      CLI::App* command = Command(job, name, help);
      Job(command);
      Target(command);
    }
    CLI::App* remove = Command(job, "rm", "Remove a job that has ended; its tables stay");
    Job(remove);
    remove->add_flag("--tables", a_.drop_tables, "drop its tables with it: its weights are gone then");
    Target(remove);
  }

  void AddShards() {
    CLI::App* shard = Group("shard", "Slices of the key space");
    Inspect(shard, "ls", "The shards of each server, and those with which something is wrong")
        ->add_flag("--all", a_.all, "each shard");
    Id(Inspect(shard, "show", "One shard"), "shard", "number of the shard");
    CLI::App* accept =
        Command(shard, "accept-loss", "Let quarantined shards go on with what is left of them");
    CLI::Option* all = accept->add_flag("--all", a_.all, "all shards that are quarantined");
    accept->add_option("shards", a_.ids, "numbers of the shards")
        ->type_name("SHARD")
        ->transform(WholeNumber(0, std::numeric_limits<uint32_t>::max()))
        ->excludes(all);
    Target(accept);

    CLI::App* force =
        Command(shard, "force",
                "Let a shard that nobody serves go on with one server's copy of it, though others that "
                "were in sync have not come back");
    Id(force, "shard", "number of the shard");
    Id(force, "node", "id of the server (see `penstock node ls`)", &a_.node);
    Target(force);

    CLI::App* move = Command(shard, "move", "Have another server take over shards, while training goes on");
    move->add_option("shards", a_.ids, "numbers of the shards")
        ->required()
        ->type_name("SHARD")
        ->transform(WholeNumber(0, std::numeric_limits<uint32_t>::max()));
    CLI::Option* to =
        move->add_option("--to", a_.to, "name or id of the server that takes them")->type_name("NODE");
    move->add_flag("--cancel", a_.cancel, "end moves that were begun: the shards stay")->excludes(to);
    move->add_option("--from", a_.from, "of the server whose copies go there (default: each shard's primary)")
        ->type_name("NODE");
    Target(move);
  }

  void AddTables() {
    CLI::App* table = Group("table", "Tables of weights");
    Inspect(table, "ls", "All tables");
    Name(Inspect(table, "describe", "One table"));
    CLI::App* get = Inspect(table, "get", "Values of some rows, stored or initial");
    Name(get);
    get->add_option("keys", a_.keys, "keys of rows")->required()->type_name("KEY")->transform(WholeNumber());
    CLI::App* expire =
        Inspect(table, "expire",
                "Delete the rows that are due by the table's rules of expiry now, not at the next interval");
    Name(expire);
    expire->add_flag("--dry-run", a_.dry_run, "only count them");
    CLI::App* drop = Command(table, "drop", "Delete a table with all its rows");
    Name(drop);
    Target(drop);
  }

  void AddCluster() {
    CLI::App* cluster = Group("cluster", "The cluster as a whole");
    CLI::App* rebalance = Inspect(
        cluster, "rebalance",
        "Move shards until servers hold and do about the same; by itself it is done once the same servers "
        "have been there for scheduler.balance_delay_ms");
    CLI::Option* word = rebalance->add_option("word", a_.word, "on or off: whether it is done by itself")
                            ->check(OneOf({"on", "off"}));
    rebalance->add_flag("--dry-run", a_.dry_run, "only say what would move")->excludes(word);
    rebalance->add_flag("--explain", a_.explain, "each move with its reason, and what servers have then")
        ->excludes(word);
    CLI::App* copies =
        Inspect(cluster, "copies",
                "Keep each shard on so many servers from now on, made and given up while the cluster runs; "
                "without N: say how many there are");
    CLI::Option* count =
        copies->add_option("copies", a_.wanted_copies, "how many servers shall hold each shard")
            ->transform(WholeNumber(1, 3))
            ->type_name("N");
    copies
        ->add_option("--min", a_.min_copies,
                     "with fewer copies in sync, pushes at `logged` and `synced` are refused (default 1)")
        ->transform(WholeNumber(1, 3))
        ->type_name("M")
        ->needs(count);
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
    sample->add_option("kind", a_.name, "cluster (default) or job")->check(OneOf({"cluster", "job"}));
    CLI::App* docs =
        Command(config, "docs", "Every option in tables of Markdown, as docs/training.md has them");
    docs->add_option("kind", a_.name, "cluster (default) or job")->check(OneOf({"cluster", "job"}));
  }

  Arguments& a_;
  CLI::App app_;
};

}  // namespace

std::optional<int> ParseArguments(int argc, const char* const* argv, Arguments* arguments, std::ostream& out,
                                  std::ostream& err) {
  Parser parser(arguments);
  if (const std::string unknown = UnknownCommand(parser.app(), argc, argv); !unknown.empty()) {
    err << "penstock: " << unknown << "\n";
    return kExitUsage;
  }
  try {
    parser.app().parse(argc, argv);
  } catch (const CLI::Success& e) {
    return parser.app().exit(e, out, err);
  } catch (const CLI::ParseError& e) {
    err << "penstock: " << ExplainMistake(parser.app(), e) << "\n";
    return kExitUsage;
  }
  if (arguments->servers == 0u && !arguments->join) {
    err << "penstock: --servers 0: must be at least 1, other than with --join\n";
    return kExitUsage;
  }
  if (arguments->command == "shard accept-loss" && !arguments->all && arguments->ids.empty()) {
    err << "penstock: shard accept-loss: name the shards, or all by --all\n";
    return kExitUsage;
  }
  return std::nullopt;
}

}  // namespace penstock
