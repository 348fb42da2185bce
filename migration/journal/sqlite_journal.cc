// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/sqlite_journal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "dataplane/rules/vocabulary.h"
#include "migration/journal/sqlite.h"
#include "migration/link/codec.h"
#include "migration/policy/document_json.h"

namespace godwit::migration {

namespace {

using nlohmann::json;

constexpr int64_t kApplicationId = 0x47445754;  // "GDWT"
constexpr int64_t kSchema = 1;
constexpr size_t kMaxWhy = 64 * 1024;
constexpr size_t kMaxLine = 128 * 1024;

constexpr const char* kTables = R"(
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT, sum INTEGER) WITHOUT ROWID;
CREATE TABLE syncs(count INTEGER);
INSERT INTO syncs VALUES(0);
CREATE TABLE epochs(vm TEXT PRIMARY KEY, counter INTEGER, host TEXT, sum INTEGER) WITHOUT ROWID;
CREATE TABLE moves(seq INTEGER PRIMARY KEY AUTOINCREMENT, role INTEGER, id TEXT, vm TEXT, peer TEXT, state TEXT,
  offered INTEGER, offered_host TEXT, handed INTEGER, handed_host TEXT, nonce INTEGER, head TEXT, digest TEXT, sum INTEGER, UNIQUE(role, id));
CREATE TABLE move_rules(seq INTEGER PRIMARY KEY AUTOINCREMENT, move INTEGER, uplink INTEGER, owner TEXT, id INTEGER, text TEXT,
  packets INTEGER, bytes INTEGER, sum INTEGER);
CREATE INDEX move_rules_by_name ON move_rules(move, uplink, owner, id);
CREATE TABLE settled(seq INTEGER PRIMARY KEY AUTOINCREMENT, role INTEGER, id TEXT, vm TEXT, peer TEXT, done INTEGER,
  epoch INTEGER, epoch_host TEXT, why TEXT, sum INTEGER);
CREATE TABLE endpoints(name TEXT PRIMARY KEY, body TEXT, sum INTEGER) WITHOUT ROWID;
CREATE TABLE rules(seq INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT, id INTEGER, inside TEXT, text TEXT, sum INTEGER, UNIQUE(owner, id));
CREATE INDEX rules_by_inside ON rules(inside);
CREATE TABLE configured(seq INTEGER PRIMARY KEY, line TEXT, sum INTEGER);
)";

// FNV-1a over each part and its length, so that no two lists of parts give the same bytes.
class Sum {
 public:
  explicit Sum(std::string_view table) { add(table); }
  Sum& add(std::string_view text) {
    add(static_cast<uint64_t>(text.size()));
    for (const char c : text) mix(static_cast<uint8_t>(c));
    return *this;
  }
  Sum& add(uint64_t number) {
    for (int shift = 0; shift < 64; shift += 8) mix(static_cast<uint8_t>(number >> shift));
    return *this;
  }
  Sum& add(const Epoch& epoch) { return add(epoch.counter).add(epoch.host); }
  [[nodiscard]] uint64_t value() const { return value_; }

 private:
  void mix(uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001b3u; }
  uint64_t value_ = 0xcbf29ce484222325u;
};

uint64_t sum_of(const std::string& vm, const Epoch& epoch) {
  return Sum("epochs").add(vm).add(epoch).value();
}
uint64_t sum_of(int64_t number, const MoveRecord& move, const std::string& head,
                const std::string& digest) {
  return Sum("moves")
      .add(static_cast<uint64_t>(number))
      .add(static_cast<uint64_t>(move.role))
      .add(move.id)
      .add(move.vm)
      .add(move.peer)
      .add(move.state)
      .add(move.offered)
      .add(move.handed)
      .add(move.nonce)
      .add(head)
      .add(digest)
      .value();
}
uint64_t sum_of(int64_t move, bool uplink, const DocumentRule& rule) {
  return Sum("move_rules")
      .add(static_cast<uint64_t>(move))
      .add(uplink ? 1u : 0u)
      .add(rule.owner)
      .add(rule.id)
      .add(rule.text)
      .add(rule.packets)
      .add(rule.bytes)
      .value();
}
uint64_t sum_of(const SettledMove& move) {
  return Sum("settled")
      .add(static_cast<uint64_t>(move.role))
      .add(move.id)
      .add(move.vm)
      .add(move.peer)
      .add(move.done ? 1u : 0u)
      .add(move.epoch)
      .add(move.why)
      .value();
}
uint64_t sum_of(const std::string& name, const std::string& body) {
  return Sum("endpoints").add(name).add(body).value();
}
uint64_t sum_of(const StoredRule& rule) {
  return Sum("rules").add(rule.owner).add(rule.id).add(rule.inside).add(rule.text).value();
}
uint64_t sum_of_meta(const std::string& name, const std::string& value) {
  return Sum("meta").add(name).add(value).value();
}
uint64_t sum_of(size_t number, const std::string& line) {
  return Sum("configured").add(number).add(line).value();
}

std::string body_of(const StoredEndpoint& endpoint) {
  return json{{"profile", to_json(endpoint.profile)},
              {"kind", endpoint.profile.kind == dataplane::EndpointKind::kUplink ? "uplink" : "vm"},
              {"socket", endpoint.socket},
              {"server", endpoint.server},
              {"devargs", endpoint.devargs},
              {"uplink", endpoint.uplink},
              {"implicit", endpoint.implicit},
              {"elsewhere", endpoint.elsewhere}}
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<StoredEndpoint> endpoint_from(const std::string& name, const std::string& body) {
  const json parsed = json::parse(body, nullptr, false);
  const auto text = [&](const char* key) -> const std::string* {
    const auto found = parsed.find(key);
    return found != parsed.end() && found->is_string() ? &found->get_ref<const std::string&>()
                                                       : nullptr;
  };
  const auto flag = [&](const char* key) {
    const auto found = parsed.find(key);
    return found != parsed.end() && found->is_boolean() && found->get<bool>();
  };
  if (!parsed.is_object() || !parsed.contains("profile")) return fail("not an endpoint");
  auto profile = profile_from_json(parsed["profile"], "/profile");
  if (!profile) return fail(profile.error().message);
  const std::string *kind = text("kind"), *socket = text("socket"), *devargs = text("devargs"),
                    *uplink = text("uplink");
  if (kind == nullptr || socket == nullptr || devargs == nullptr || uplink == nullptr ||
      profile->name != name)
    return fail("not an endpoint");
  StoredEndpoint out{std::move(*profile), *socket,          flag("server"), *devargs, *uplink,
                     flag("implicit"),    flag("elsewhere")};
  out.profile.kind =
      *kind == "uplink" ? dataplane::EndpointKind::kUplink : dataplane::EndpointKind::kVm;
  return out;
}

// Makes all of it beside its place first.
Result<void> create_file(const std::string& path, const std::string& host) {
  const std::string aside = path + ".new";
  for (const char* end : {"", "-wal", "-shm", "-journal"}) {
    if (unlink((aside + end).c_str()) != 0 && errno != ENOENT)
      return fail(aside + end + ": " + std::strerror(errno));
  }
  const int made = ::open(aside.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (made < 0) return fail(aside + ": " + std::strerror(errno));
  close(made);
  {
    auto database = Database::open(aside, Database::Access::kWrite);
    if (!database) return fail(database.error());
    Result<void> done = (*database)->execute(
        "PRAGMA page_size=4096; PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL; BEGIN "
        "IMMEDIATE;");
    if (done) done = (*database)->execute(kTables);
    if (done)
      done = (*database)->run(
          "INSERT INTO meta(name, value, sum) VALUES('host', ?, ?), ('written', 'no', ?)",
          {host, sum_of_meta("host", host), sum_of_meta("written", "no")});
    if (done) {
      done = (*database)->execute("PRAGMA application_id=" + std::to_string(kApplicationId) +
                                  "; PRAGMA user_version=" + std::to_string(kSchema) + "; COMMIT");
    }
    if (!done) {
      database->reset();
      unlink(aside.c_str());
      return done;
    }
  }
  if (rename(aside.c_str(), path.c_str()) != 0) return fail(path + ": " + std::strerror(errno));
  const std::string folder =
      path.find('/') == std::string::npos ? "." : path.substr(0, path.rfind('/') + 1);
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return fail(folder + ": " + std::strerror(errno));
  const bool synced = fsync(directory) == 0;
  const int error = errno;
  close(directory);
  if (!synced) return fail(folder + ": " + std::strerror(error));
  return {};
}

}  // namespace

SqliteJournal::SqliteJournal(std::unique_ptr<Database> database, SqliteJournalOptions options)
    : database_(std::move(database)), options_(std::move(options)) {}
SqliteJournal::~SqliteJournal() = default;

const std::string& SqliteJournal::path() const { return database_->path(); }

Unexpected SqliteJournal::damaged(const std::string& what) const {
  return fail(path() + " is damaged (" + what +
              "): put a copy back, or move it and its -wal aside to begin anew with what the "
              "configuration says");
}

Result<void> SqliteJournal::read(const char* sql, std::initializer_list<Value> values,
                                 const std::function<Result<void>(const Row&)>& each) {
  bool ours = false;
  auto done = database_->run(sql, values, [&](const Row& row) {
    auto taken = each(row);
    ours = !taken;
    return taken;
  });
  return done || ours ? done : damaged(done.error().message);
}

Result<std::unique_ptr<SqliteJournal>> SqliteJournal::open(const std::string& path,
                                                           const SqliteJournalOptions& options) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) {
    if (errno != ENOENT || options.read_only) return fail(path + ": " + std::strerror(errno));
    if (auto made = create_file(path, options.host); !made) return fail(made.error());
  }
  auto database =
      Database::open(path, options.read_only ? Database::Access::kRead : Database::Access::kWrite);
  if (!database) return fail(database.error());
  std::unique_ptr<SqliteJournal> journal(new SqliteJournal(std::move(*database), options));
  if (found.st_size == 0 && S_ISREG(found.st_mode)) return journal->damaged("it is empty");
  if (auto good = journal->check(); !good) return fail(good.error());
  if (auto loaded = journal->load(); !loaded) return fail(loaded.error());
  return journal;
}

Result<void> SqliteJournal::check() {
  Database& database = *database_;
  auto application = database.number("PRAGMA application_id");
  if (!application) return damaged(application.error().message);
  if (*application != kApplicationId)
    return fail(path() +
                " is not a state file of Godwit's: name another directory, or move it aside");
  auto schema = database.number("PRAGMA user_version");
  if (!schema) return damaged(schema.error().message);
  if (*schema > kSchema) {
    return fail(path() + " was written by a newer Godwit (schema " + std::to_string(*schema) +
                ", this one reads " + std::to_string(kSchema) +
                "): start that one, or move it and its -wal aside to begin anew with what the "
                "configuration says");
  }
  if (*schema != kSchema) return damaged("schema " + std::to_string(*schema));
  std::string verdict;
  auto checked = read("PRAGMA integrity_check(1)", {}, [&](const Row& row) -> Result<void> {
    verdict = row.text(0);
    return {};
  });
  if (!checked) return checked;
  if (verdict != "ok") return damaged(verdict);
  auto host = meta("host");
  if (!host) return fail(host.error());
  if (*host != options_.host) {
    return fail(path() + " is the state of host " + *host + ", and this is " + options_.host +
                ": name another directory, or move it aside");
  }
  if (!options_.read_only) {
    // trusted_schema: nothing in a file runs code of ours. The log is kept from growing without
    // end.
    return database.execute(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=1000; PRAGMA "
        "journal_size_limit=67108864;"
        "PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY; PRAGMA "
        "cache_size=-16384");
  }
  return {};
}

Result<std::string> SqliteJournal::meta(const char* name) {
  std::string value;
  bool there = false;
  auto done =
      read("SELECT value, sum FROM meta WHERE name=?", {name}, [&](const Row& row) -> Result<void> {
        value = row.text(0);
        there = static_cast<uint64_t>(row.number(1)) == sum_of_meta(name, value);
        return {};
      });
  if (!done) return fail(done.error());
  if (!there) return damaged(std::string("its ") + name);
  return value;
}

Result<void> SqliteJournal::load() {
  JournalBatch known;
  auto loaded =
      read("SELECT vm, counter, host, sum FROM epochs", {}, [&](const Row& row) -> Result<void> {
        const std::string vm = row.text(0);
        Epoch epoch{static_cast<uint64_t>(row.number(1)), row.text(2)};
        if (static_cast<uint64_t>(row.number(3)) != sum_of(vm, epoch) || !is_host_name(epoch.host))
          return damaged("the epoch of " + vm.substr(0, kMaxNameBytes));
        known.epochs.emplace_back(vm, std::move(epoch));
        return {};
      });
  if (loaded) {
    loaded = read(
        "SELECT role, id, vm, peer, done, epoch, epoch_host, why, sum FROM settled ORDER BY seq",
        {}, [&](const Row& row) -> Result<void> {
          SettledMove move{row.text(1),        row.text(2),
                           row.text(3),        static_cast<MoveRole>(row.number(0)),
                           row.number(4) != 0, {static_cast<uint64_t>(row.number(5)), row.text(6)},
                           row.text(7)};
          const bool good =
              (move.role == MoveRole::kSource || move.role == MoveRole::kDestination) &&
              move.why.size() <= kMaxWhy;
          if (!good || static_cast<uint64_t>(row.number(8)) != sum_of(move))
            return damaged("ended move " + move.id.substr(0, kMaxMoveIdBytes));
          known.settled.push_back(std::move(move));
          return {};
        });
  }
  if (!loaded) return loaded;
  remember(known);
  return {};
}

Result<void> SqliteJournal::set_synchronous(bool full) {
  if (full == full_) return {};
  if (auto set = database_->execute(full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
      !set)
    return set;
  full_ = full;
  return {};
}

Result<void> SqliteJournal::store(const JournalBatch& batch) {
  const bool lazy = options_.lazy_policy && batch.epochs.empty() && batch.moves.empty() &&
                    batch.deltas.empty() && batch.settled.empty();
  Result<void> done = set_synchronous(!lazy);
  if (done) done = database_->run("BEGIN IMMEDIATE");
  if (!done) return done;
  done = store_rows(batch);
  if (done) done = database_->run("COMMIT");
  if (!done) {
    if (database_->in_transaction()) (void)database_->run("ROLLBACK");
    return done;
  }
  unsynced_ = lazy;
  return {};
}

Result<void> SqliteJournal::sync() {
  if (!unsynced_) return {};
  Result<void> done = set_synchronous(true);
  if (done) done = database_->run("UPDATE syncs SET count=count+1");
  if (done) unsynced_ = false;
  return done;
}

Result<void> SqliteJournal::store_rows(const JournalBatch& batch) {
  Result<void> done;
  for (const auto& [vm, epoch] : batch.epochs) {
    if (done)
      done =
          database_->run("INSERT OR REPLACE INTO epochs(vm, counter, host, sum) VALUES(?, ?, ?, ?)",
                         {vm, epoch.counter, epoch.host, sum_of(vm, epoch)});
  }
  for (const MoveRecord& move : batch.moves) {
    if (done) done = store_move(move);
  }
  for (const MoveDelta& delta : batch.deltas) {
    if (done) done = store_delta(delta);
  }
  for (const SettledMove& move : batch.settled) {
    if (done) done = store_settled(move);
  }
  return done ? store_policy(batch) : done;
}

Result<void> SqliteJournal::store_move(const MoveRecord& move) {
  int64_t number = 0;
  std::string head, digest;
  auto done =
      database_->run("SELECT seq, head, digest FROM moves WHERE role=? AND id=?",
                     {static_cast<int>(move.role), move.id}, [&](const Row& row) -> Result<void> {
                       number = row.number(0);
                       head = row.text(1);
                       digest = row.text(2);
                       return {};
                     });
  if (!done) return done;
  if (move.document != nullptr) {
    Document bare = *move.document;
    bare.rules.clear();
    bare.uplink_rules.clear();
    bare.digest = digest_of(bare);
    head = to_json(bare).dump(-1, ' ', false, json::error_handler_t::replace);
    digest = move.document->digest;
  }
  if (number == 0) {
    done = database_->run("INSERT INTO moves(role, id) VALUES(?, ?)",
                          {static_cast<int>(move.role), move.id});
    number = database_->last_row();
  }
  if (!done) return done;
  done = database_->run(
      "UPDATE moves SET vm=?, peer=?, state=?, offered=?, offered_host=?, handed=?, handed_host=?, "
      "nonce=?, head=?, digest=?, sum=? WHERE seq=?",
      {move.vm, move.peer, move.state, move.offered.counter, move.offered.host, move.handed.counter,
       move.handed.host, move.nonce, head, digest, sum_of(number, move, head, digest), number});
  return done && move.document != nullptr ? store_document(number, *move.document) : done;
}

Result<void> SqliteJournal::store_document(int64_t move, const Document& document) {
  auto done = database_->run("DELETE FROM move_rules WHERE move=?", {move});
  for (const bool uplink : {false, true}) {
    for (const DocumentRule& rule : uplink ? document.uplink_rules : document.rules) {
      if (!done) return done;
      done = database_->run(
          "INSERT INTO move_rules(move, uplink, owner, id, text, packets, bytes, sum) VALUES(?, ?, "
          "?, ?, ?, ?, ?, ?)",
          {move, uplink, rule.owner, rule.id, rule.text, rule.packets, rule.bytes,
           sum_of(move, uplink, rule)});
    }
  }
  return done;
}

Result<void> SqliteJournal::store_delta(const MoveDelta& delta) {
  int64_t move = 0, place = 0;
  const auto take = [](int64_t& out) {
    return [&out](const Row& row) -> Result<void> {
      out = row.number(0);
      return {};
    };
  };
  auto done = database_->run("SELECT seq FROM moves WHERE role=? AND id=? AND head<>''",
                             {static_cast<int>(MoveRole::kDestination), delta.id}, take(move));
  if (!done) return done;
  if (move == 0) return fail("no document of move " + delta.id + " is known");
  done = database_->run(
      "SELECT seq FROM move_rules WHERE move=? AND uplink=? AND owner=? AND id=? ORDER BY seq "
      "LIMIT 1",
      {move, delta.uplink, delta.rule.owner, delta.rule.id}, take(place));
  if (!done) return done;
  const std::string what = std::string(delta.uplink ? "uplink rule " : "rule ") +
                           std::to_string(delta.rule.id) + " of " + delta.rule.owner;
  if (delta.created) {
    if (place != 0) return fail(what + " is in the document already");
    return database_->run(
        "INSERT INTO move_rules(move, uplink, owner, id, text, packets, bytes, sum) VALUES(?, ?, "
        "?, ?, ?, ?, ?, ?)",
        {move, delta.uplink, delta.rule.owner, delta.rule.id, delta.rule.text, delta.rule.packets,
         delta.rule.bytes, sum_of(move, delta.uplink, delta.rule)});
  }
  if (place == 0) return fail(what + " is not in the document");
  return database_->run("DELETE FROM move_rules WHERE seq=?", {place});
}

Result<void> SqliteJournal::store_settled(const SettledMove& move) {
  const int role = static_cast<int>(move.role);
  auto done = database_->run(
      "DELETE FROM move_rules WHERE move IN (SELECT seq FROM moves WHERE role=? AND id=?)",
      {role, move.id});
  if (done) done = database_->run("DELETE FROM moves WHERE role=? AND id=?", {role, move.id});
  if (done) {
    done = database_->run(
        "INSERT INTO settled(role, id, vm, peer, done, epoch, epoch_host, why, sum) VALUES(?, ?, "
        "?, ?, ?, ?, ?, ?, ?)",
        {role, move.id, move.vm, move.peer, move.done, move.epoch.counter, move.epoch.host,
         move.why, sum_of(move)});
  }
  if (done)
    done = database_->run("DELETE FROM settled WHERE seq<=?",
                          {database_->last_row() - static_cast<int64_t>(kMaxSettled)});
  return done;
}

Result<void> SqliteJournal::store_policy(const JournalBatch& batch) {
  Result<void> done;
  const auto run = [&](const char* sql, std::initializer_list<Value> values) {
    if (done) done = database_->run(sql, values);
  };
  if (batch.forget_policy) {
    run("DELETE FROM rules", {});
    run("DELETE FROM endpoints", {});
  }
  for (const std::string& endpoint : batch.emptied)
    run("DELETE FROM rules WHERE inside=?", {endpoint});
  for (const auto& [owner, id] : batch.destroyed)
    run("DELETE FROM rules WHERE owner=? AND id=?", {owner, id});
  for (const std::string& endpoint : batch.gone)
    run("DELETE FROM endpoints WHERE name=?", {endpoint});
  for (const StoredEndpoint& endpoint : batch.endpoints) {
    const std::string body = body_of(endpoint);
    run("INSERT OR REPLACE INTO endpoints(name, body, sum) VALUES(?, ?, ?)",
        {endpoint.profile.name, body, sum_of(endpoint.profile.name, body)});
  }
  for (const StoredRule& rule : batch.created) {
    run("INSERT OR REPLACE INTO rules(owner, id, inside, text, sum) VALUES(?, ?, ?, ?, ?)",
        {rule.owner, rule.id, rule.inside, rule.text, sum_of(rule)});
  }
  if (batch.replace_configured) {
    run("DELETE FROM configured", {});
    for (size_t i = 0; i < batch.configured.size(); ++i) {
      run("INSERT INTO configured(seq, line, sum) VALUES(?, ?, ?)",
          {static_cast<int64_t>(i), batch.configured[i], sum_of(i, batch.configured[i])});
    }
  }
  if (batch.forget_policy || !batch.endpoints.empty() || !batch.created.empty() ||
      batch.replace_configured) {
    run("UPDATE meta SET value='yes', sum=? WHERE name='written' AND value='no'",
        {sum_of_meta("written", "yes")});
  }
  return done;
}

Result<MoveRecord> SqliteJournal::read_move(const Row& row, int64_t& number) const {
  number = row.number(0);
  MoveRecord move;
  move.role = static_cast<MoveRole>(row.number(1));
  move.id = row.text(2);
  move.vm = row.text(3);
  move.peer = row.text(4);
  move.state = row.text(5);
  move.offered = {static_cast<uint64_t>(row.number(6)), row.text(7)};
  move.handed = {static_cast<uint64_t>(row.number(8)), row.text(9)};
  move.nonce = static_cast<uint64_t>(row.number(10));
  const std::string head = row.text(11), digest = row.text(12);
  const bool good = (move.role == MoveRole::kSource || move.role == MoveRole::kDestination) &&
                    is_host_name(move.peer) && is_host_name(move.offered.host) &&
                    is_host_name(move.handed.host) && dataplane::check_endpoint_name(move.vm);
  if (!good || static_cast<uint64_t>(row.number(13)) != sum_of(number, move, head, digest))
    return damaged("move " + move.id.substr(0, kMaxMoveIdBytes));
  if (head.empty()) return move;
  auto document = document_from_text(head);
  if (!document)
    return damaged("the document of move " + move.id + ": " + document.error().message);
  document->digest = digest;
  move.document = std::make_shared<const Document>(std::move(*document));
  return move;
}

Result<void> SqliteJournal::read_document(int64_t move, Document& document) {
  return read(
      "SELECT uplink, owner, id, text, packets, bytes, sum FROM move_rules WHERE move=? ORDER BY "
      "seq",
      {move}, [&](const Row& row) -> Result<void> {
        DocumentRule rule{row.text(1), static_cast<uint32_t>(row.number(2)), row.text(3),
                          static_cast<uint64_t>(row.number(4)),
                          static_cast<uint64_t>(row.number(5))};
        const bool uplink = row.number(0) != 0;
        auto& list = uplink ? document.uplink_rules : document.rules;
        const bool good =
            rule.text.size() <= dataplane::kMaxRuleText && list.size() < kMaxDocumentRules;
        if (!good || static_cast<uint64_t>(row.number(6)) != sum_of(move, uplink, rule))
          return damaged("a rule of a move of " + document.vm);
        list.push_back(std::move(rule));
        return {};
      });
}

Result<std::vector<MoveRecord>> SqliteJournal::moves() {
  std::vector<MoveRecord> out;
  std::vector<int64_t> numbers;
  auto done = read(
      "SELECT seq, role, id, vm, peer, state, offered, offered_host, handed, handed_host, nonce, "
      "head, digest, sum FROM moves ORDER BY seq",
      {}, [&](const Row& row) -> Result<void> {
        auto move = read_move(row, numbers.emplace_back());
        if (!move) return fail(move.error());
        out.push_back(std::move(*move));
        return {};
      });
  for (size_t i = 0; done && i < out.size(); ++i) {
    if (out[i].document == nullptr) continue;
    auto document = std::make_shared<Document>(*out[i].document);
    done = read_document(numbers[i], *document);
    out[i].document = std::move(document);
  }
  if (!done) return fail(done.error());
  return out;
}

Result<StoredPolicy> SqliteJournal::policy() {
  StoredPolicy out;
  auto done = read("SELECT name, body, sum FROM endpoints ORDER BY name", {},
                   [&](const Row& row) -> Result<void> {
                     const std::string name = row.text(0), body = row.text(1);
                     if (static_cast<uint64_t>(row.number(2)) != sum_of(name, body))
                       return damaged("endpoint " + name.substr(0, kMaxNameBytes));
                     auto endpoint = endpoint_from(name, body);
                     if (!endpoint)
                       return damaged("endpoint " + name.substr(0, kMaxNameBytes) + ": " +
                                      endpoint.error().message);
                     out.endpoints.push_back(std::move(*endpoint));
                     return {};
                   });
  if (done) {
    done = read("SELECT owner, id, inside, text, sum FROM rules ORDER BY seq", {},
                [&](const Row& row) -> Result<void> {
                  StoredRule rule{row.text(0), static_cast<uint32_t>(row.number(1)), row.text(2),
                                  row.text(3)};
                  if (rule.text.size() > dataplane::kMaxRuleText ||
                      static_cast<uint64_t>(row.number(4)) != sum_of(rule)) {
                    return damaged("rule " + std::to_string(rule.id) + " of " +
                                   rule.owner.substr(0, kMaxNameBytes));
                  }
                  out.rules.push_back(std::move(rule));
                  return {};
                });
  }
  if (done) {
    done = read("SELECT seq, line, sum FROM configured ORDER BY seq", {},
                [&](const Row& row) -> Result<void> {
                  const auto number = static_cast<size_t>(row.number(0));
                  std::string line = row.text(1);
                  if (number != out.configured.size() || line.size() > kMaxLine ||
                      static_cast<uint64_t>(row.number(2)) != sum_of(number, line))
                    return damaged("what was configured");
                  out.configured.push_back(std::move(line));
                  return {};
                });
  }
  if (!done) return fail(done.error());
  auto written = meta("written");
  if (!written) return fail(written.error());
  out.written = *written == "yes";
  return out;
}

}  // namespace godwit::migration
