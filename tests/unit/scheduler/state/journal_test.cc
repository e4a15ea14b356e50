// The journal on a real disk: reopening, snapshots, torn tails, damage, versions, failed writes.
#include "scheduler/state/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "common/base/fault.h"

namespace penstock {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class JournalTest : public ::testing::Test {
 protected:
  JournalTest() {
    std::string pattern = ::testing::TempDir() + "penstock-journal-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root_ = pattern;
    dir_ = root_ + "/journal";
  }
  ~JournalTest() override {
    DisarmAll();
    journal_.reset();
    fs::remove_all(root_);
  }

  Status Open(uint64_t snapshot_every = 1000) {
    state_.reset();
    journal_.reset();
    auto journal = Journal::Open(dir_, {.snapshot_every = snapshot_every});
    if (!journal.ok()) return journal.status();
    journal_ = std::move(*journal);
    state_ = std::make_unique<CommittedState>(journal_->TakeState(), *journal_);
    return Status::Ok();
  }
  Status Table(const std::string& name) {
    TableSpec spec;
    spec.id = state_->data().last_table + 1;
    spec.name = name;
    spec.optimizer.learning_rate = 0.1f;
    return state_->Commit(CreateTable{spec});
  }
  // A cluster with `tables` tables.
  void Fill(int tables) {
    if (state_->data().cluster == 0) {
      ASSERT_TRUE(state_->Commit(BeginTerm{.term = 1, .cluster = 5, .shards = 8}).ok());
    }
    for (int i = 0; i < tables; ++i)
      ASSERT_TRUE(Table("t" + std::to_string(state_->data().last_table + 1)).ok());
  }
  std::string Json() const { return (*state_)->ToJson().dump(); }
  void Close() {
    state_.reset();
    journal_.reset();
  }

  // The largest file of that ending.
  fs::path Largest(const std::string& extension) const {
    fs::path largest;
    for (const auto& entry : fs::directory_iterator(dir_)) {
      if (entry.path().extension() == extension &&
          (largest.empty() || fs::file_size(entry.path()) > fs::file_size(largest))) {
        largest = entry.path();
      }
    }
    EXPECT_FALSE(largest.empty()) << "no " << extension << " in " << dir_;
    return largest;
  }
  static void Flip(const fs::path& file, uint64_t offset) {
    std::fstream io(file, std::ios::in | std::ios::out | std::ios::binary);
    io.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(io.get() ^ 0x5a);
    io.seekp(static_cast<std::streamoff>(offset));
    io.put(byte);
  }
  // With the database itself.
  template <typename Fn>
  void Raw(Fn fn) {
    rocksdb::DB* db = nullptr;
    rocksdb::Options options;
    ASSERT_TRUE(rocksdb::DB::Open(options, dir_, &db).ok());
    fn(db);
    delete db;
  }

  std::string root_, dir_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<CommittedState> state_;
};

TEST_F(JournalTest, ReopenedItHoldsTheEqualState) {
  ASSERT_TRUE(Open().ok());
  Fill(20);
  const std::string before = Json();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Open().ok());
    EXPECT_EQ(Json(), before);
    EXPECT_EQ(journal_->last_index(), 21u);
  }
}

TEST_F(JournalTest, SnapshotsReplaceTheCommandsBeforeThem) {
  for (int i = 0; i < 7; ++i) {
    ASSERT_TRUE(Open(10).ok());
    Fill(5);
    const std::string before = Json();
    ASSERT_TRUE(Open(10).ok());
    ASSERT_EQ(Json(), before);
  }
  EXPECT_EQ(journal_->last_index(), 36u);
  EXPECT_GE(journal_->snapshot_index(), 25u);
  const uint64_t since = journal_->last_index() - journal_->snapshot_index();
  Close();
  uint64_t keys = 0;
  Raw([&](rocksdb::DB* db) {
    std::unique_ptr<rocksdb::Iterator> it(db->NewIterator({}));
    for (it->SeekToFirst(); it->Valid(); it->Next()) ++keys;
  });
  EXPECT_EQ(keys, since + 1);
}

TEST_F(JournalTest, ASnapshotThatFailsLosesNothingAndIsMadeLater) {
  ASSERT_TRUE(Open(5).ok());
  ASSERT_TRUE(ArmFaults("scheduler.journal.snapshot=error:EIO@1", 1).ok());
  Fill(5);
  journal_->WaitForSnapshot();
  EXPECT_EQ(journal_->snapshot_index(), 0u);
  Fill(1);
  journal_->WaitForSnapshot();
  EXPECT_EQ(journal_->snapshot_index(), 7u);
  const std::string before = Json();
  ASSERT_TRUE(Open(5).ok());
  EXPECT_EQ(Json(), before);
}

TEST_F(JournalTest, CommandsAreTakenWhileASnapshotIsMade) {
  ASSERT_TRUE(Open(5).ok());
  std::promise<void> goes_on;
  ArmFault("scheduler.journal.snapshot", [wait = goes_on.get_future().share()](uint64_t) {
    wait.wait();
    return Status::Ok();
  });
  Fill(30);
  EXPECT_EQ(journal_->snapshot_index(), 0u);
  goes_on.set_value();
  journal_->WaitForSnapshot();
  EXPECT_EQ(journal_->snapshot_index(), 6u);
  const std::string before = Json();
  ASSERT_TRUE(Open(5).ok());
  EXPECT_EQ(Json(), before);
}

TEST_F(JournalTest, ASnapshotFromBeforeRewindNumbersBeginsWithTheFirst) {
  ASSERT_TRUE(Open().ok());
  Fill(1);
  auto json = (*state_)->ToJson();
  json.erase("rewind");
  const auto state = ClusterState::FromJson(json);
  ASSERT_TRUE(state.ok()) << state.status().ToString();
  EXPECT_EQ(state->ToJson(), (*state_)->ToJson());
  EXPECT_EQ(state->data().rewind, 1u);
}

TEST_F(JournalTest, ATornTailIsDropped) {
  ASSERT_TRUE(Open().ok());
  Fill(19);
  const std::string before = Json();
  Fill(1);
  Close();
  const fs::path log = Largest(".log");
  fs::resize_file(log, fs::file_size(log) - 3);
  const Status opened = Open();
  ASSERT_TRUE(opened.ok()) << opened.ToString();
  EXPECT_EQ(Json(), before);
  Fill(1);
  const std::string after = Json();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Json(), after);
}

TEST_F(JournalTest, DamageInTheMiddleIsRefusedAndNamesTheFile) {
  ASSERT_TRUE(Open().ok());
  Fill(50);
  Close();
  const fs::path log = Largest(".log");
  Flip(log, fs::file_size(log) / 2);
  const Status opened = Open();
  ASSERT_EQ(opened.code(), Code::kDataLoss) << opened.ToString();
  EXPECT_THAT(opened.message(), HasSubstr(dir_));
  EXPECT_THAT(opened.message(), HasSubstr(log.filename().string()));
  EXPECT_THAT(opened.message(), HasSubstr("restore this directory from a backup"));
}

TEST_F(JournalTest, DamageInATableFileIsRefused) {
  ASSERT_TRUE(Open().ok());
  Fill(50);
  ASSERT_TRUE(Open().ok());  // recovery writes what was in the log into a table file
  Close();
  const fs::path table = Largest(".sst");
  Flip(table, fs::file_size(table) / 3);
  const Status opened = Open();
  EXPECT_EQ(opened.code(), Code::kDataLoss) << opened.ToString();
  EXPECT_THAT(opened.message(), HasSubstr(table.filename().string()));
}

TEST_F(JournalTest, AYoungLogThatCannotBeReadIsNoNewJournal) {
  ASSERT_TRUE(Open().ok());
  Fill(5);
  Close();
  const fs::path log = Largest(".log");
  const auto bytes = fs::file_size(log);
  fs::resize_file(log, 0);
  fs::resize_file(log, bytes);  // zeros
  for (int attempt = 0; attempt < 4; ++attempt) {
    const Status opened = Open();
    EXPECT_EQ(opened.code(), Code::kDataLoss) << opened.ToString();
    EXPECT_THAT(opened.message(), HasSubstr(log.filename().string()));
  }
}

TEST_F(JournalTest, MissingFilesAreRefused) {
  for (const char* name : {"CURRENT", ".sst", ".log"}) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(Open().ok());
    Fill(5);
    ASSERT_TRUE(Open().ok());
    Close();
    const fs::path victim = name[0] == '.' ? Largest(name) : fs::path(dir_) / name;
    fs::rename(victim, root_ + "/aside");
    const Status opened = Open();
    EXPECT_EQ(opened.code(), Code::kDataLoss) << opened.ToString();
    EXPECT_THAT(opened.message(), HasSubstr(name[1] == 'l' ? name : victim.stem().string()));
    Close();
    fs::rename(root_ + "/aside", victim);
  }
}

TEST_F(JournalTest, AMissingCommandIsRefused) {
  ASSERT_TRUE(Open().ok());
  Fill(5);
  Close();
  Raw([](rocksdb::DB* db) { ASSERT_TRUE(db->Delete({}, "c/00000000000000000003").ok()); });
  const Status opened = Open();
  EXPECT_EQ(opened.code(), Code::kDataLoss);
  EXPECT_THAT(opened.message(), HasSubstr("c/00000000000000000003"));
}

TEST_F(JournalTest, LaterVersionsAreRefused) {
  ASSERT_TRUE(Open(3).ok());
  Fill(5);
  Close();
  Raw([](rocksdb::DB* db) {
    ASSERT_TRUE(db->Put({}, "c/00000000000000000007", R"({"v":2,"type":"drop_table","table":1})").ok());
  });
  Status opened = Open();
  EXPECT_EQ(opened.code(), Code::kFailedPrecondition);
  EXPECT_THAT(opened.message(), HasSubstr("version 2"));
  Raw([](rocksdb::DB* db) {
    ASSERT_TRUE(db->Delete({}, "c/00000000000000000007").ok());
    ASSERT_TRUE(db->Put({}, "snapshot", R"({"v":9,"index":3,"state":{}})").ok());
  });
  opened = Open();
  EXPECT_EQ(opened.code(), Code::kFailedPrecondition);
  EXPECT_THAT(opened.message(), HasSubstr("version 9"));
}

TEST_F(JournalTest, ASecondSchedulerIsRefused) {
  ASSERT_TRUE(Open().ok());
  const auto second = Journal::Open(dir_);
  EXPECT_EQ(second.status().code(), Code::kFailedPrecondition) << second.status().ToString();
  EXPECT_THAT(second.status().message(), HasSubstr("another process has it open"));
}

TEST_F(JournalTest, AnImpossibleDirectoryIsNamed) {
  std::ofstream(root_ + "/file") << "x";
  const auto journal = Journal::Open(root_ + "/file/journal");
  ASSERT_FALSE(journal.ok());
  EXPECT_THAT(journal.status().message(), HasSubstr(root_ + "/file/journal"));
}

TEST_F(JournalTest, AFailedWriteChangesNothingAndServiceResumes) {
  ASSERT_TRUE(Open().ok());
  Fill(5);
  const std::string before = Json();
  // A real failure of the disk: no file may grow beyond this.
  signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit small{.rlim_cur = fs::file_size(Largest(".log")) + 100, .rlim_max = old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status failed = Table("too-much");
  const Status again = Table("too-much");
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  EXPECT_FALSE(failed.ok());
  EXPECT_THAT(failed.message(), HasSubstr(dir_));
  EXPECT_FALSE(failed.code() == Code::kDataLoss || again.code() == Code::kDataLoss) << again.ToString();
  if (again.ok()) {
    EXPECT_NE(Json(), before);
  } else {
    EXPECT_EQ(Json(), before);
    const Status resumed = Table("too-much");
    ASSERT_TRUE(resumed.ok()) << resumed.ToString();
  }
  Fill(3);
  const std::string after = Json();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Json(), after);
}

TEST_F(JournalTest, AFullDiskIsNamed) {
  ASSERT_TRUE(Open().ok());
  Fill(1);
  ASSERT_TRUE(ArmFaults("scheduler.journal.write=error:ENOSPC", 1).ok());
  EXPECT_EQ(Table("x").code(), Code::kOverloaded);
  EXPECT_EQ(state_->log_status().code(), Code::kOverloaded);
  DisarmAll();
  EXPECT_TRUE(Table("x").ok());
  EXPECT_TRUE(state_->log_status().ok());
}

// A real one, where mounting is allowed.
TEST_F(JournalTest, ServiceResumesWhenAFullDiskHasSpaceAgain) {
  fs::create_directories(dir_);
  if (mount("tmpfs", dir_.c_str(), "tmpfs", 0, "size=2m") != 0)
    GTEST_SKIP() << "no right to mount a small file system";
  const std::shared_ptr<void> unmount(nullptr, [this](void*) {
    Close();
    umount(dir_.c_str());
  });
  ASSERT_TRUE(Open(50).ok());
  Fill(10);
  for (int round = 0; round < 3; ++round) {
    {
      std::ofstream filler(dir_ + "/filler", std::ios::binary);
      const std::string block(4096, 'x');
      while (filler.write(block.data(), 4096).flush()) {
      }
    }
    Status failed;
    int taken = 0;
    for (; failed.ok() && taken < 10000; ++taken)
      failed = Table("t" + std::to_string((*state_)->data().last_table + 1));
    ASSERT_EQ(failed.code(), Code::kOverloaded) << failed.ToString();
    EXPECT_THAT(failed.message(), HasSubstr("free space on the disk"));
    const std::string before = Json();
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(Table("more").ok());
    EXPECT_EQ(Json(), before);
    fs::remove(dir_ + "/filler");
    const Status resumed = Table("more" + std::to_string(round));
    ASSERT_TRUE(resumed.ok()) << resumed.ToString();
    Fill(60);
    const std::string after = Json();
    ASSERT_TRUE(Open(50).ok());
    ASSERT_EQ(Json(), after);
  }
}

TEST_F(JournalTest, ACommandThatWasWrittenAndReportedAsFailedIsOverwritten) {
  ASSERT_TRUE(Open(4).ok());
  for (int round = 0; round < 6; ++round) {
    Fill(1);
    ASSERT_TRUE(ArmFaults("scheduler.journal.written=error:EIO@1", 1).ok());
    EXPECT_FALSE(Table("phantom").ok());
    DisarmAll();
    EXPECT_EQ((*state_)->FindTable("phantom"), nullptr);
    ASSERT_TRUE(Table("real" + std::to_string(round)).ok());
    const std::string before = Json();
    ASSERT_TRUE(Open(4).ok());
    ASSERT_EQ(Json(), before);
  }
}

}  // namespace
}  // namespace penstock
