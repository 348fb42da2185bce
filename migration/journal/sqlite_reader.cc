// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/sqlite_reader.h"

#include <memory>
#include <utility>

#include "dataplane/rules/vocabulary.h"
#include "migration/journal/database.h"
#include "migration/journal/endpoint_body.h"
#include "migration/journal/row_sums.h"
#include "migration/link/codec.h"
#include "migration/policy/document_json.h"

namespace godwit::migration {

namespace {

constexpr size_t kMaxWhy = 64 * 1024;    // bytes of the reason of an aborted move
constexpr size_t kMaxLine = 128 * 1024;  // bytes of a line of the configuration

}  // namespace

Unexpected SqliteReader::damaged(const std::string& what) const {
  return fail(database_.path() + " is damaged (" + what +
              "): restore a backup of the file, or move it and its -wal file away to start with "
              "the configuration alone");
}

Result<void> SqliteReader::read(const char* sql, std::initializer_list<Value> values,
                                const Each& each) {
  bool refused = false;  // by `each`, whose error already names the damaged row
  auto done = database_.run(sql, values, [&](const Row& row) {
    auto taken = each(row);
    refused = !taken;
    return taken;
  });
  return done || refused ? done : damaged(done.error().message);
}

Result<void> SqliteReader::check_integrity() {
  std::string verdict;
  auto checked = read("PRAGMA integrity_check(1)", {}, [&](const Row& row) -> Result<void> {
    verdict = row.text(0);
    return {};
  });
  if (!checked) return checked;
  return verdict == "ok" ? Result<void>{} : damaged(verdict);
}

Result<std::string> SqliteReader::meta(const char* name) {
  std::string value;
  bool valid = false;
  auto done =
      read("SELECT value, sum FROM meta WHERE name=?", {name}, [&](const Row& row) -> Result<void> {
        value = row.text(0);
        valid = static_cast<uint64_t>(row.number(1)) == sum_of_meta(name, value);
        return {};
      });
  if (!done) return fail(done.error());
  if (!valid) return damaged(std::string("no valid `") + name + "` in table meta");
  return value;
}

Result<JournalBatch> SqliteReader::epochs_and_settled() {
  JournalBatch known;
  auto loaded =
      read("SELECT vm, counter, host, sum FROM epochs", {}, [&](const Row& row) -> Result<void> {
        const std::string vm = row.text(0);
        Epoch epoch{static_cast<uint64_t>(row.number(1)), row.text(2)};
        if (static_cast<uint64_t>(row.number(3)) != sum_of_epoch(vm, epoch) ||
            !is_host_name(epoch.host))
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
          if (!good || static_cast<uint64_t>(row.number(8)) != sum_of_settled(move))
            return damaged("the row of ended move " + move.id.substr(0, kMaxMoveIdBytes));
          known.settled.push_back(std::move(move));
          return {};
        });
  }
  if (!loaded) return fail(loaded.error());
  return known;
}

Result<MoveRecord> SqliteReader::read_move(const Row& row, int64_t& number) const {
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
  if (!good || static_cast<uint64_t>(row.number(13)) != sum_of_move(number, move, head, digest))
    return damaged("the row of move " + move.id.substr(0, kMaxMoveIdBytes));
  if (head.empty()) return move;
  auto document = document_from_text(head);
  if (!document)
    return damaged("the document of move " + move.id + ": " + document.error().message);
  document->digest = digest;
  move.document = std::make_shared<const Document>(std::move(*document));
  return move;
}

Result<void> SqliteReader::read_document(int64_t move, Document& document) {
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
        if (!good || static_cast<uint64_t>(row.number(6)) != sum_of_move_rule(move, uplink, rule))
          return damaged("a rule of a move of " + document.vm);
        list.push_back(std::move(rule));
        return {};
      });
}

Result<std::vector<MoveRecord>> SqliteReader::moves() {
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

Result<void> SqliteReader::read_endpoints(std::vector<StoredEndpoint>& out) {
  return read("SELECT name, body, sum FROM endpoints ORDER BY name", {},
              [&](const Row& row) -> Result<void> {
                const std::string name = row.text(0), body = row.text(1);
                if (static_cast<uint64_t>(row.number(2)) != sum_of_endpoint(name, body))
                  return damaged("endpoint " + name.substr(0, kMaxNameBytes));
                auto endpoint = endpoint_from_body(name, body);
                if (!endpoint)
                  return damaged("endpoint " + name.substr(0, kMaxNameBytes) + ": " +
                                 endpoint.error().message);
                out.push_back(std::move(*endpoint));
                return {};
              });
}

Result<void> SqliteReader::read_rules(std::vector<StoredRule>& out) {
  return read("SELECT owner, id, inside, text, sum FROM rules ORDER BY seq", {},
              [&](const Row& row) -> Result<void> {
                StoredRule rule{row.text(0), static_cast<uint32_t>(row.number(1)), row.text(2),
                                row.text(3)};
                if (rule.text.size() > dataplane::kMaxRuleText ||
                    static_cast<uint64_t>(row.number(4)) != sum_of_rule(rule)) {
                  return damaged("rule " + std::to_string(rule.id) + " of " +
                                 rule.owner.substr(0, kMaxNameBytes));
                }
                out.push_back(std::move(rule));
                return {};
              });
}

Result<void> SqliteReader::read_configured(std::vector<std::string>& out) {
  return read("SELECT seq, line, sum FROM configured ORDER BY seq", {},
              [&](const Row& row) -> Result<void> {
                const auto number = static_cast<size_t>(row.number(0));
                std::string line = row.text(1);
                if (number != out.size() || line.size() > kMaxLine ||
                    static_cast<uint64_t>(row.number(2)) != sum_of_configured(number, line))
                  return damaged("line " + std::to_string(out.size() + 1) + " of table configured");
                out.push_back(std::move(line));
                return {};
              });
}

Result<StoredPolicy> SqliteReader::policy() {
  StoredPolicy out;
  Result<void> done = read_endpoints(out.endpoints);
  if (done) done = read_rules(out.rules);
  if (done) done = read_configured(out.configured);
  if (!done) return fail(done.error());
  auto written = meta("written");
  if (!written) return fail(written.error());
  out.written = *written == "yes";
  return out;
}

}  // namespace godwit::migration
