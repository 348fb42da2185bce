// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/sqlite_reader.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/text.h"
#include "migration/journal/database.h"
#include "migration/journal/endpoint_body.h"
#include "migration/journal/row_sums.h"
#include "migration/journal/storable.h"
#include "migration/policy/document_json.h"

namespace godwit::migration {

namespace {

constexpr size_t kMaxLine = 128 * 1024;

uint64_t unsigned_number(const Row& row, int column) {
  return static_cast<uint64_t>(row.number(column));
}

// Returns the endpoint whose policy lacks the rule: the one whose table had it, or its owner. Empty
// if that is an uplink, which other VMs need, or no endpoint that is known.
std::string endpoint_of(const StoredRule& rule, const std::vector<StoredEndpoint>& endpoints) {
  for (const std::string& name : {rule.inside, rule.owner}) {
    const auto found = std::ranges::find_if(
        endpoints, [&](const StoredEndpoint& endpoint) { return endpoint.profile.name == name; });
    if (found == endpoints.end()) continue;
    return found->profile.kind == dataplane::EndpointKind::kVm ? name : std::string();
  }
  return {};
}

}  // namespace

Unexpected SqliteReader::damaged(const std::string& what) const {
  return fail(database_.path() + " is damaged (" + what +
              "): restore a backup of the file, or move it and its -wal file aside to start with "
              "the configuration alone");
}

Result<void> SqliteReader::read(const char* sql, std::initializer_list<Value> values,
                                const Each& each) {
  auto done = database_.run(sql, values, [&](const Row& row) -> Result<void> {
    each(row);
    return {};
  });
  return done ? done : damaged(done.error().message);
}

void SqliteReader::leave_out(const char* table, const std::string& key, const std::string& what) {
  damaged_.push_back({{table, {}, what}, 0, key});
}

void SqliteReader::leave_out(const char* table, int64_t number, const std::string& what,
                             const std::string& endpoint) {
  damaged_.push_back({{table, endpoint, what}, number, {}});
}

void SqliteReader::leave_out_move(int64_t number, const MoveRecord& move, const std::string& why) {
  const std::string what =
      "move " + printable(move.id) + " of " + printable(move.vm) + (why.empty() ? "" : ": ") + why;
  leave_out("moves", number, what);
  leave_out("move_rules", number, "rules of " + what);
}

Result<void> SqliteReader::check_integrity() {
  std::string verdict;
  auto checked =
      read("PRAGMA integrity_check(1)", {}, [&](const Row& row) { verdict = row.text(0); });
  if (!checked) return checked;
  return verdict == "ok" ? Result<void>{} : damaged(verdict);
}

Result<std::string> SqliteReader::meta(const char* name) {
  std::string value;
  auto done = read("SELECT value, sum FROM meta WHERE name=?", {name}, [&](const Row& row) {
    if (std::string text = row.text(0); unsigned_number(row, 1) == sum_of_meta(name, text)) {
      value = std::move(text);
    } else {
      leave_out("meta", name, std::string("its ") + name);
    }
  });
  if (!done) return fail(done.error());
  return value;
}

Result<void> SqliteReader::read_epochs(JournalBatch& out) {
  return read("SELECT vm, counter, host, sum FROM epochs", {}, [&](const Row& row) {
    const std::string vm = row.text(0);
    Epoch epoch{unsigned_number(row, 1), row.text(2)};
    if (unsigned_number(row, 3) != sum_of_epoch(vm, epoch) || !storable(epoch))
      return leave_out("epochs", vm, "the epoch of " + printable(vm));
    out.epochs.emplace_back(vm, std::move(epoch));
  });
}

Result<void> SqliteReader::read_settled(JournalBatch& out) {
  return read(
      "SELECT seq, role, id, vm, peer, done, epoch, epoch_host, why, sum FROM settled ORDER BY seq",
      {}, [&](const Row& row) {
        SettledMove move{row.text(2),        row.text(3),
                         row.text(4),        static_cast<MoveRole>(row.number(1)),
                         row.number(5) != 0, {unsigned_number(row, 6), row.text(7)},
                         row.text(8)};
        if (unsigned_number(row, 9) != sum_of_settled(move)) {
          return leave_out("settled", row.number(0),
                           "ended move " + printable(move.id) + " of " + printable(move.vm));
        }
        cut_texts(move);  // an older Godwit kept longer ones
        if (auto good = storable(move); !good)
          return leave_out("settled", row.number(0),
                           "ended move " + printable(move.id) + " of " + printable(move.vm) + ": " +
                               good.error().message);
        out.settled.push_back(std::move(move));
      });
}

Result<JournalBatch> SqliteReader::epochs_and_settled() {
  JournalBatch known;
  auto loaded = read_epochs(known);
  if (loaded) loaded = read_settled(known);
  if (!loaded) return fail(loaded.error());
  return known;
}

// Reads a move but the rules of its document. Returns an error if the row's checksum does not fit.
Result<MoveRecord> SqliteReader::read_move(const Row& row) const {
  MoveRecord move;
  move.role = static_cast<MoveRole>(row.number(1));
  move.id = row.text(2);
  move.vm = row.text(3);
  move.peer = row.text(4);
  move.state = row.text(5);
  move.offered = {unsigned_number(row, 6), row.text(7)};
  move.handed = {unsigned_number(row, 8), row.text(9)};
  move.nonce = unsigned_number(row, 10);
  const std::string head = row.text(11), digest = row.text(12);
  if (unsigned_number(row, 13) != sum_of_move(row.number(0), move, head, digest))
    return fail("its checksum does not fit");
  if (auto good = storable(move); !good) return fail(good.error());
  if (head.empty()) return move;
  auto document = document_from_text(head);
  if (!document) return fail(document.error());
  document->digest = digest;
  move.document = std::make_shared<const Document>(std::move(*document));
  return move;
}

Result<bool> SqliteReader::read_document(int64_t move, Document& document) {
  bool good = true;
  auto done = read(
      "SELECT uplink, owner, id, text, packets, bytes, sum FROM move_rules WHERE move=? ORDER BY "
      "seq",
      {move}, [&](const Row& row) {
        DocumentRule rule{row.text(1), static_cast<uint32_t>(row.number(2)), row.text(3),
                          unsigned_number(row, 4), unsigned_number(row, 5)};
        const bool uplink = row.number(0) != 0;
        auto& list = uplink ? document.uplink_rules : document.rules;
        good = good && storable(rule) && list.size() < kMaxDocumentRules &&
               unsigned_number(row, 6) == sum_of_move_rule(move, uplink, rule);
        if (good) list.push_back(std::move(rule));
      });
  if (!done) return fail(done.error());
  return good;
}

Result<std::vector<MoveRecord>> SqliteReader::moves() {
  std::vector<std::pair<int64_t, MoveRecord>> found;
  auto done = read(
      "SELECT seq, role, id, vm, peer, state, offered, offered_host, handed, handed_host, nonce, "
      "head, digest, sum FROM moves ORDER BY seq",
      {}, [&](const Row& row) {
        if (auto move = read_move(row); move) {
          found.emplace_back(row.number(0), std::move(*move));
        } else {
          MoveRecord named;
          named.id = row.text(2);
          named.vm = row.text(3);
          leave_out_move(row.number(0), named, move.error().message);
        }
      });
  std::vector<MoveRecord> out;
  for (auto& [number, move] : found) {
    if (!done) break;
    if (move.document != nullptr) {
      auto document = std::make_shared<Document>(*move.document);
      auto good = read_document(number, *document);
      if (!good) return fail(good.error());
      if (!*good) {
        leave_out_move(number, move, "a rule of its document");
        continue;
      }
      move.document = std::move(document);
    }
    out.push_back(std::move(move));
  }
  if (!done) return fail(done.error());
  return out;
}

Result<void> SqliteReader::read_endpoints(std::vector<StoredEndpoint>& out) {
  return read("SELECT name, body, sum FROM endpoints ORDER BY name", {}, [&](const Row& row) {
    const std::string name = row.text(0), body = row.text(1);
    if (unsigned_number(row, 2) != sum_of_endpoint(name, body))
      return leave_out("endpoints", name, "endpoint " + printable(name));
    auto endpoint = endpoint_from_body(name, body);
    if (!endpoint)
      return leave_out("endpoints", name,
                       "endpoint " + printable(name) + ": " + endpoint.error().message);
    out.push_back(std::move(*endpoint));
  });
}

Result<void> SqliteReader::read_rules(StoredPolicy& out) {
  return read("SELECT seq, owner, id, inside, text, sum FROM rules ORDER BY seq", {},
              [&](const Row& row) {
                StoredRule rule{row.text(1), static_cast<uint32_t>(row.number(2)), row.text(3),
                                row.text(4)};
                if (storable(rule) && unsigned_number(row, 5) == sum_of_rule(rule)) {
                  out.rules.push_back(std::move(rule));
                  return;
                }
                const std::string endpoint = endpoint_of(rule, out.endpoints);
                if (!endpoint.empty()) out.incomplete.insert(endpoint);
                leave_out("rules", row.number(0),
                          "rule " + std::to_string(rule.id) + " of " + printable(rule.owner) +
                              (rule.inside.empty() ? "" : " in " + printable(rule.inside)),
                          endpoint);
              });
}

Result<void> SqliteReader::read_configured(std::vector<std::string>& out) {
  bool good = true;
  auto done = read("SELECT seq, line, sum FROM configured ORDER BY seq", {}, [&](const Row& row) {
    const auto number = static_cast<size_t>(row.number(0));
    std::string line = row.text(1);
    good = good && number == out.size() && line.size() <= kMaxLine &&
           unsigned_number(row, 2) == sum_of_configured(number, line);
    if (good) out.push_back(std::move(line));
  });
  if (good) return done;
  out.clear();
  leave_out("configured", INT64_MIN, "the lines of the configuration that were applied last");
  return done;
}

Result<StoredPolicy> SqliteReader::policy() {
  StoredPolicy out;
  Result<void> done = read_endpoints(out.endpoints);
  if (done) done = read_rules(out);
  if (done) done = read_configured(out.configured);
  if (!done) return fail(done.error());
  auto written = meta("written");
  if (!written) return fail(written.error());
  // A policy that is there was written, whatever became of the mark.
  out.written =
      *written == "yes" || (*written != "no" && !(out.endpoints.empty() && out.rules.empty()));
  return out;
}

}  // namespace godwit::migration
