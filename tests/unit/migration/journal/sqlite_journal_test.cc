// SPDX-License-Identifier: Apache-2.0
//
// The journal's file against MemoryJournal as oracle: random batches, writers that are killed,
// disks that are full, files that are cut, damaged, somebody else's or of the future.
#include "migration/journal/sqlite_journal.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "migration/journal/memory_journal.h"
#include "tests/unit/migration/journal/journal_scratch.h"

namespace godwit::migration {
namespace {

using dataplane::EndpointKind;
using dataplane::MissPolicy;

// All of a journal as text, to compare.
std::string text(const Epoch& epoch) { return to_string(epoch); }
std::string picture(Journal& journal) {
  std::string out;
  for (const auto& [vm, epoch] : journal.epochs()) out += "epoch " + vm + " " + text(epoch) + "\n";
  auto moves = journal.moves();
  if (!moves) return "moves: " + moves.error().message;
  for (const MoveRecord& move : *moves) {
    out += "move " + move.id + " " + move.vm + " " + move.peer + " " +
           std::string(name_of(move.role)) + " " + move.state + " " + text(move.offered) +
           text(move.handed) + " " + std::to_string(move.nonce) + "\n";
    if (move.document == nullptr) continue;
    const Document& document = *move.document;
    out += " document " + document.vm + " " + document.host + " " + text(document.epoch) + " " +
           document.digest + " profiles " + std::to_string(document.profiles.size()) + " uplinks " +
           std::to_string(document.uplinks.size()) + " now " + digest_of(document) + "\n";
    for (const auto* list : {&document.rules, &document.uplink_rules}) {
      for (const DocumentRule& rule : *list) {
        out += "  " + rule.owner + " " + std::to_string(rule.id) + " " + rule.text + " " +
               std::to_string(rule.packets) + " " + std::to_string(rule.bytes) + "\n";
      }
    }
  }
  auto policy = journal.policy();
  if (!policy) return "policy: " + policy.error().message;
  for (const StoredEndpoint& e : policy->endpoints) {
    out += "endpoint " + e.profile.name +
           (e.profile.kind == EndpointKind::kUplink ? " uplink " : " vm ") + e.socket +
           (e.server ? " server " : " ") + e.devargs + " " + e.uplink +
           (e.implicit ? " implicit" : "") + (e.elsewhere ? " elsewhere" : "") + " " +
           std::to_string(e.profile.mtu) + " " + std::to_string(e.profile.queues) + " " +
           std::to_string(e.profile.features) +
           (e.profile.miss == MissPolicy::kDrop ? " drop" : "");
    for (const auto& mac : e.profile.macs) out += " " + to_string(mac);
    for (const auto& ip : e.profile.ipv4s) out += " " + to_string(ip);
    for (const auto& ip : e.profile.ipv6s) out += " " + to_string(ip);
    for (const uint16_t vlan : e.profile.vlans) out += " " + std::to_string(vlan);
    out += "\n";
  }
  for (const StoredRule& rule : policy->rules)
    out += "rule " + rule.owner + " " + std::to_string(rule.id) + " " + rule.inside + " " +
           rule.text + "\n";
  for (const std::string& line : policy->configured) out += "configured " + line + "\n";
  return out + (policy->written ? "written\n" : "nothing written\n");
}
std::string settled_picture(const Journal& journal, const std::vector<std::string>& ids) {
  std::string out;
  for (const std::string& id : ids) {
    for (const MoveRole role : {MoveRole::kSource, MoveRole::kDestination}) {
      const SettledMove* move = journal.settled(id, role);
      if (move != nullptr)
        out += id + " " + move->vm + " " + move->peer + " " + (move->done ? "done " : "aborted ") +
               text(move->epoch) + " " + move->why + "\n";
    }
  }
  return out;
}

// Batches that make sense more often than not.
class RandomBatches {
 public:
  explicit RandomBatches(uint64_t seed) : random_(seed) {}

  JournalBatch next() {
    JournalBatch batch;
    if (chance(4)) batch.epochs.emplace_back(vm(), epoch());
    if (chance(3)) batch.moves.push_back(move());
    if (chance(3)) batch.deltas.push_back({move_id(), chance(2), rule(), chance(2)});
    if (chance(5)) {
      batch.settled.push_back({move_id(), vm(), "host-b",
                               chance(2) ? MoveRole::kSource : MoveRole::kDestination, chance(2),
                               epoch(), chance(2) ? "" : "full\nof \"it\""});
    }
    if (chance(30)) batch.forget_policy = true;
    if (chance(4)) batch.emptied.push_back(endpoint_name());
    if (chance(3)) batch.destroyed.emplace_back(endpoint_name(), number(6));
    if (chance(6)) batch.gone.push_back(endpoint_name());
    if (chance(3)) batch.endpoints.push_back(endpoint());
    for (uint32_t i = chance(2) ? number(5) : 0; i > 0; --i)
      batch.created.push_back(
          {endpoint_name(), number(6), chance(3) ? "" : endpoint_name(), rule_text()});
    if (chance(8)) {
      batch.replace_configured = true;
      for (uint32_t i = number(4); i > 0; --i)
        batch.configured.push_back("line " + std::to_string(number(1000)) + " \xc3\xa9 '%");
    }
    return batch;
  }
  static std::vector<std::string> move_ids() { return {"m0", "m1", "m2", "m3", "m4"}; }

 private:
  uint32_t number(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  bool chance(uint32_t of) { return number(of) == 0; }
  std::string vm() { return "vm" + std::to_string(number(4)); }
  std::string endpoint_name() { return vm() + "/net" + std::to_string(number(2)); }
  std::string move_id() { return move_ids()[number(5)]; }
  Epoch epoch() {
    return {chance(9) ? kMaxOfferedCounter : random_() % 100,
            chance(9) ? "" : "host-" + std::to_string(number(3))};
  }
  std::string rule_text() {
    return "ingress priority " + std::to_string(number(99)) +
           " pattern eth / ipv4 / end actions drop / end";
  }
  DocumentRule rule() { return {endpoint_name(), number(6), rule_text(), random_(), random_()}; }
  dataplane::Profile profile(const std::string& name) {
    dataplane::Profile out;
    out.name = name;
    for (uint32_t i = number(3); i > 0; --i)
      out.macs.push_back({{2, 0, 0, 0, 0, static_cast<uint8_t>(number(255))}});
    for (uint32_t i = number(3); i > 0; --i)
      out.ipv4s.push_back({{10, 0, 0, static_cast<uint8_t>(number(255))}});
    for (uint32_t i = number(2); i > 0; --i)
      out.ipv6s.emplace_back().bytes[15] = static_cast<uint8_t>(number(255));
    for (uint32_t i = number(3); i > 0; --i)
      out.vlans.push_back(static_cast<uint16_t>(number(4095)));
    out.mtu = static_cast<uint16_t>(68 + number(9000));
    out.queues = static_cast<uint16_t>(1 + number(16));
    out.features = random_();
    out.miss = chance(2) ? MissPolicy::kDrop : MissPolicy::kNormal;
    return out;
  }
  StoredEndpoint endpoint() {
    StoredEndpoint out{profile(chance(5) ? "physnet1" : endpoint_name()),
                       chance(2) ? "/run/a b.sock" : "",
                       chance(3),
                       "",
                       chance(2) ? "physnet1" : "",
                       chance(3),
                       chance(4)};
    if (out.profile.name == "physnet1") {
      out.profile.kind = EndpointKind::kUplink;
      out.devargs = "net_null0,no-rx=1";
    }
    return out;
  }
  MoveRecord move() {
    MoveRecord out{move_id(),
                   vm(),
                   "host-b",
                   chance(2) ? MoveRole::kSource : MoveRole::kDestination,
                   chance(2) ? "prepared" : "active",
                   epoch(),
                   epoch(),
                   random_(),
                   {}};
    if (out.role == MoveRole::kDestination && chance(2)) {
      auto document = std::make_shared<Document>();
      document->vm = out.vm;
      document->host = "host-b";
      document->epoch = out.offered;
      document->profiles = {profile(out.vm + "/net0"), profile(out.vm + "/net1")};
      for (uint32_t i = number(6); i > 0; --i) document->rules.push_back(rule());
      for (uint32_t i = number(3); i > 0; --i) document->uplink_rules.push_back(rule());
      document->uplinks = {"physnet1"};
      document->digest = digest_of(*document);
      out.document = std::move(document);
    }
    return out;
  }

  std::mt19937_64 random_;
};

TEST(SqliteJournalTest, RandomBatchesAndRestarts_MatchMemoryJournal) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Scratch folder;
    RandomBatches batches(seed);
    auto file = open(folder / "state.sqlite", seed % 2 == 0);
    ASSERT_TRUE(file) << file.error().message;
    auto disk = std::make_shared<MemoryDisk>();
    auto memory = std::make_unique<MemoryJournal>(disk);
    int refused = 0;
    for (int i = 0; i < 150; ++i) {
      const JournalBatch batch = batches.next();
      const MemoryDisk before = *disk;
      const bool stored = static_cast<bool>(memory->write(batch));
      if (!stored) *disk = before;  // MemoryJournal is not undone by itself
      ASSERT_EQ(static_cast<bool>((*file)->write(batch)), stored) << "batch " << i;
      refused += stored ? 0 : 1;
      if (i % 25 == 24) {
        ASSERT_TRUE((*file)->sync());
        file->reset();
        file = open(folder / "state.sqlite", seed % 2 == 0);
        ASSERT_TRUE(file) << file.error().message;
        memory = std::make_unique<MemoryJournal>(disk);
        ASSERT_EQ(settled_picture(**file, RandomBatches::move_ids()),
                  settled_picture(*memory, RandomBatches::move_ids()));
        ASSERT_EQ(picture(**file), picture(*memory)) << "batch " << i;
      }
    }
    EXPECT_GT(refused, 5) << "deltas of what is not there are refused";
    EXPECT_LT(refused, 100);
  }
}

TEST(SqliteJournalTest, SettledMoves_AreLimitedToTheNewest) {
  Scratch folder;
  auto file = open(folder / "state.sqlite");
  ASSERT_TRUE(file);
  JournalBatch batch;
  for (size_t i = 0; i < kMaxSettled + 10; ++i)
    batch.settled.push_back(
        {"s" + std::to_string(i), "vm1", "host-b", MoveRole::kSource, true, {1, "host-b"}, {}});
  ASSERT_TRUE((*file)->write(batch));
  file->reset();
  file = open(folder / "state.sqlite");
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->settled("s9", MoveRole::kSource), nullptr);
  EXPECT_NE((*file)->settled("s10", MoveRole::kSource), nullptr);
}

// One batch: an epoch, and rules that must be there with it.
JournalBatch numbered(uint64_t number) {
  JournalBatch batch;
  batch.epochs.emplace_back("vm1", Epoch{number, "host-a"});
  batch.emptied.push_back("vm1/net0");
  for (uint32_t i = 0; i < 20; ++i)
    batch.created.push_back(
        {"vm1/net0", i, "vm1/net0",
         "ingress priority " + std::to_string(number) + " pattern eth / end actions drop / end"});
  return batch;
}
// The number, when all of the batch is there.
uint64_t read_numbered(SqliteJournal& journal) {
  const auto epoch = journal.epochs().find("vm1");
  const uint64_t number = epoch == journal.epochs().end() ? 0 : epoch->second.counter;
  auto policy = journal.policy();
  EXPECT_TRUE(policy) << policy.error().message;
  EXPECT_EQ(policy->rules.size(), number == 0 ? 0u : 20u);
  for (const StoredRule& rule : policy->rules)
    EXPECT_EQ(rule.text, numbered(number).created[0].text);
  return number;
}

TEST(SqliteJournalTest, KilledWriter_KeepsWholeBatches) {
  Scratch folder;
  const std::string path = folder / "state.sqlite";
  std::mt19937 random(7);
  uint64_t done = 0;
  for (int round = 0; round < 25; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(pipe_ends[0]);
      auto journal = open(path);
      if (!journal) _exit(1);
      for (uint64_t number = done + 1;; ++number) {
        if (!(*journal)->write(numbered(number)) ||
            write(pipe_ends[1], &number, sizeof number) != sizeof number)
          _exit(1);
      }
    }
    close(pipe_ends[1]);
    std::this_thread::sleep_for(std::chrono::milliseconds(3 + random() % 30));
    kill(child, SIGKILL);
    uint64_t said = done, number = 0;
    while (read(pipe_ends[0], &number, sizeof number) == sizeof number) said = number;
    close(pipe_ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << status;
    auto journal = open(path);
    ASSERT_TRUE(journal) << journal.error().message;
    const uint64_t there = read_numbered(**journal);
    EXPECT_GE(there, said);
    EXPECT_LE(there, said + 1);
    done = there;
  }
  EXPECT_GT(done, 25u) << "the writers have written";
}

void expect_refused_then_going_on(SqliteJournal& journal, const std::function<void()>& make_room) {
  uint64_t number = 0;
  Result<void> written;
  for (; number < 100000 && written; ++number) {
    JournalBatch batch = numbered(number + 1);
    for (StoredRule& rule : batch.created) rule.text += std::string(1000, ' ');
    batch.forget_policy = batch.emptied.empty();
    batch.emptied.clear();
    for (uint32_t i = 0; i < batch.created.size(); ++i)
      batch.created[i].id = static_cast<uint32_t>(number * 20 + i);
    written = journal.write(batch);
  }
  ASSERT_FALSE(written) << "the disk was to fill";
  EXPECT_NE(written.error().message.find(journal.path()), std::string::npos)
      << written.error().message;
  const uint64_t good = number - 1;
  EXPECT_EQ(journal.epochs().at("vm1").counter, good);
  auto policy = journal.policy();
  ASSERT_TRUE(policy) << policy.error().message;
  EXPECT_EQ(policy->rules.size(), good * 20);
  make_room();
  JournalBatch small;
  small.epochs.emplace_back("vm2", Epoch{5, "host-b"});
  auto again = journal.write(small);
  EXPECT_TRUE(again) << again.error().message;
}

TEST(SqliteJournalTest, FullDisk_RefusesTheBatch) {
  Scratch folder;
  const std::string place = folder / "small";
  std::filesystem::create_directory(place);
  if (mount("tmpfs", place.c_str(), "tmpfs", 0, "size=2m") != 0)
    GTEST_SKIP() << "cannot run here: tmpfs cannot be mounted";
  {
    auto journal = open(place + "/state.sqlite");
    ASSERT_TRUE(journal) << journal.error().message;
    std::ofstream(place + "/ballast") << std::string(256 * 1024, 'x');
    expect_refused_then_going_on(**journal, [&] { std::filesystem::remove(place + "/ballast"); });
    journal->reset();
    journal = open(place + "/state.sqlite");
    ASSERT_TRUE(journal) << journal.error().message;
    EXPECT_EQ((*journal)->epochs().at("vm2").counter, 5u);
  }
  umount2(place.c_str(), MNT_DETACH);
}

TEST(SqliteJournalTest, FileSizeLimit_RefusesTheBatch) {
  Scratch folder;
  auto journal = open(folder / "state.sqlite");
  ASSERT_TRUE(journal);
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{1 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  expect_refused_then_going_on(**journal, [&] { setrlimit(RLIMIT_FSIZE, &before); });
  setrlimit(RLIMIT_FSIZE, &before);
}

TEST(SqliteJournalTest, UncreatableFile_IsAnError) {
  auto journal = open("/proc/nowhere/state.sqlite");
  ASSERT_FALSE(journal);
  EXPECT_NE(journal.error().message.find("/proc/nowhere/state.sqlite"), std::string::npos)
      << journal.error().message;
}

class DamagedFile : public ::testing::Test {
 protected:
  DamagedFile() {
    auto journal = open(path_);
    EXPECT_TRUE(journal);
    RandomBatches batches(3);
    for (int i = 0; i < 60; ++i) (void)(*journal)->write(batches.next());
    EXPECT_TRUE((*journal)->write(numbered(4)));
    whole_ = picture(**journal);
    journal->reset();
    std::ifstream in(path_, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
  }
  void put(const std::string& bytes) {
    for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path_ + end);
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  // All of it but the rows that were set aside, or an error that names the file and what to do.
  void expect_whole_or_refused(bool must_refuse) {
    auto journal = open(path_);
    const std::string got = journal ? picture(**journal) : journal.error().message;
    if (!must_refuse && got == whole_) return;
    if (!must_refuse && journal && !(*journal)->set_aside().empty()) {
      std::istringstream lines(got);
      for (std::string line; std::getline(lines, line);)
        EXPECT_NE(whole_.find(line + "\n"), std::string::npos) << line;
      return;
    }
    EXPECT_NE(got.find(path_), std::string::npos) << got;
    EXPECT_NE(got.find("aside"), std::string::npos) << got;
  }
  Scratch folder_;
  std::string path_ = folder_ / "state.sqlite", whole_, bytes_;
};

TEST_F(DamagedFile, CutAnywhere_IsRefused) {
  for (size_t length = 0; length < bytes_.size(); length += length < 200 ? 33 : 1777) {
    SCOPED_TRACE("cut to " + std::to_string(length));
    put(bytes_.substr(0, length));
    expect_whole_or_refused(true);
  }
}

TEST_F(DamagedFile, Garbage_IsRefused) {
  put(std::string(20000, 'g'));
  expect_whole_or_refused(true);
  put("SQLite format 3" + std::string(1, '\0') + std::string(9000, '\xa5'));
  expect_whole_or_refused(true);
}

TEST_F(DamagedFile, FlippedBit_IsDetectedOrHarmless) {
  std::mt19937 random(11);
  int seen = 0;
  for (int i = 0; i < 1500; ++i) {
    const size_t at = random() % bytes_.size();
    const int bit = static_cast<int>(random() % 8);
    SCOPED_TRACE("bit " + std::to_string(bit) + " of byte " + std::to_string(at));
    std::string flipped = bytes_;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
    put(flipped);
    expect_whole_or_refused(false);
    auto journal = open(path_);
    seen += journal && picture(**journal) == whole_ ? 0 : 1;
  }
  EXPECT_GT(seen, 50);
}

TEST_F(DamagedFile, TornLog_LosesWholeBatchesFromItsEnd) {
  std::string log;
  {
    auto journal = open(path_);
    ASSERT_TRUE(journal);
    for (uint64_t number = 5; number <= 9; ++number)
      ASSERT_TRUE((*journal)->write(numbered(number)));
    std::ifstream in(path_ + "-wal", std::ios::binary);
    log.assign(std::istreambuf_iterator<char>(in), {});
  }
  ASSERT_GT(log.size(), 5 * 4096u);
  std::set<uint64_t> found;
  for (size_t length = 0; length < log.size() + 2048; length += 2048) {
    put(bytes_);
    std::ofstream(path_ + "-wal", std::ios::binary) << log.substr(0, length);
    auto journal = open(path_);
    ASSERT_TRUE(journal) << journal.error().message;
    const uint64_t number = (*journal)->epochs().at("vm1").counter;
    auto policy = (*journal)->policy();
    ASSERT_TRUE(policy);
    size_t rules = 0;
    for (const StoredRule& rule : policy->rules)
      rules += rule.text == numbered(number).created[0].text ? 1 : 0;
    EXPECT_EQ(rules, 20u) << length;
    found.insert(number);
  }
  EXPECT_EQ(found, (std::set<uint64_t>{4, 5, 6, 7, 8, 9}));
}

TEST_F(DamagedFile, NewerSchema_IsRefused) {
  run_sql(path_, "PRAGMA user_version=2");
  auto journal = open(path_);
  ASSERT_FALSE(journal);
  EXPECT_NE(journal.error().message.find("newer"), std::string::npos) << journal.error().message;
  EXPECT_NE(journal.error().message.find("schema 2"), std::string::npos) << journal.error().message;
}

TEST_F(DamagedFile, ForeignDatabase_IsRefused) {
  run_sql(path_, "PRAGMA application_id=1");
  auto journal = open(path_);
  ASSERT_FALSE(journal);
  EXPECT_NE(journal.error().message.find("not a state file"), std::string::npos)
      << journal.error().message;
}

TEST_F(DamagedFile, FileOfAnotherHost_IsRefused) {
  auto journal = SqliteJournal::open(path_, {"host-b"});
  ASSERT_FALSE(journal);
  EXPECT_NE(journal.error().message.find("host-a"), std::string::npos) << journal.error().message;
}

TEST_F(DamagedFile, ReadOnly_WritesNothing) {
  auto journal = SqliteJournal::open(path_, {"host-a", false, true});
  ASSERT_TRUE(journal) << journal.error().message;
  EXPECT_EQ(picture(**journal), whole_);
  EXPECT_FALSE((*journal)->write(numbered(8)));
}

TEST(SqliteJournalTest, LazyPolicy_SurvivesAKill) {
  Scratch folder;
  const std::string path = folder / "state.sqlite";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto journal = open(path, true);
    if (!journal) _exit(1);
    for (uint32_t i = 0; i < 2000; ++i) {
      JournalBatch batch;
      batch.created.push_back(
          {"vm1/net0", i, "vm1/net0", "ingress pattern eth / end actions drop / end"});
      if (!(*journal)->write(batch) || !(*journal)->unsynced()) _exit(2);
    }
    raise(SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
  auto journal = open(path, true);
  ASSERT_TRUE(journal) << journal.error().message;
  EXPECT_EQ((*journal)->policy()->rules.size(), 2000u);
  JournalBatch batch;
  batch.destroyed.emplace_back("vm1/net0", 0);
  ASSERT_TRUE((*journal)->write(batch));
  EXPECT_TRUE((*journal)->unsynced());
  ASSERT_TRUE((*journal)->sync());
  EXPECT_FALSE((*journal)->unsynced());
  ASSERT_TRUE((*journal)->write(numbered(1)));
  EXPECT_FALSE((*journal)->unsynced()) << "a step of a move is synced, and what came before it";
}

}  // namespace
}  // namespace godwit::migration
