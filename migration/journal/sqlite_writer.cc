// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/sqlite_writer.h"

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>

#include "migration/journal/database.h"
#include "migration/journal/endpoint_body.h"
#include "migration/journal/journal.h"
#include "migration/journal/row_sums.h"
#include "migration/policy/document_json.h"

namespace godwit::migration {

using nlohmann::json;

Result<void> SqliteWriter::write(const JournalBatch& batch) {
  Result<void> done;
  for (const auto& [vm, epoch] : batch.epochs) {
    if (done)
      done =
          database_.run("INSERT OR REPLACE INTO epochs(vm, counter, host, sum) VALUES(?, ?, ?, ?)",
                        {vm, epoch.counter, epoch.host, sum_of_epoch(vm, epoch)});
  }
  for (const MoveRecord& move : batch.moves) {
    if (done) done = write_move(move);
  }
  for (const MoveDelta& delta : batch.deltas) {
    if (done) done = write_delta(delta);
  }
  for (const SettledMove& move : batch.settled) {
    if (done) done = write_settled(move);
  }
  return done ? write_policy(batch) : done;
}

Result<void> SqliteWriter::write_move(const MoveRecord& move) {
  int64_t number = 0;
  std::string head, digest;
  auto done =
      database_.run("SELECT seq, head, digest FROM moves WHERE role=? AND id=?",
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
    done = database_.run("INSERT INTO moves(role, id) VALUES(?, ?)",
                         {static_cast<int>(move.role), move.id});
    number = database_.last_row();
  }
  if (!done) return done;
  done = database_.run(
      "UPDATE moves SET vm=?, peer=?, state=?, offered=?, offered_host=?, handed=?, handed_host=?, "
      "nonce=?, head=?, digest=?, sum=? WHERE seq=?",
      {move.vm, move.peer, move.state, move.offered.counter, move.offered.host, move.handed.counter,
       move.handed.host, move.nonce, head, digest, sum_of_move(number, move, head, digest),
       number});
  return done && move.document != nullptr ? write_document(number, *move.document) : done;
}

Result<void> SqliteWriter::write_document(int64_t move, const Document& document) {
  auto done = database_.run("DELETE FROM move_rules WHERE move=?", {move});
  for (const bool uplink : {false, true}) {
    for (const DocumentRule& rule : uplink ? document.uplink_rules : document.rules) {
      if (!done) return done;
      done = write_document_rule(move, uplink, rule);
    }
  }
  return done;
}

Result<void> SqliteWriter::write_document_rule(int64_t move, bool uplink,
                                               const DocumentRule& rule) {
  return database_.run(
      "INSERT INTO move_rules(move, uplink, owner, id, text, packets, bytes, sum) VALUES(?, ?, ?, "
      "?, ?, ?, ?, ?)",
      {move, uplink, rule.owner, rule.id, rule.text, rule.packets, rule.bytes,
       sum_of_move_rule(move, uplink, rule)});
}

Result<void> SqliteWriter::write_delta(const MoveDelta& delta) {
  int64_t move = 0, place = 0;
  const auto take = [](int64_t& out) {
    return [&out](const Row& row) -> Result<void> {
      out = row.number(0);
      return {};
    };
  };
  auto done = database_.run("SELECT seq FROM moves WHERE role=? AND id=? AND head<>''",
                            {static_cast<int>(MoveRole::kDestination), delta.id}, take(move));
  if (!done) return done;
  if (move == 0) return fail("no document of move " + delta.id + " is known");
  done = database_.run(
      "SELECT seq FROM move_rules WHERE move=? AND uplink=? AND owner=? AND id=? ORDER BY seq "
      "LIMIT 1",
      {move, delta.uplink, delta.rule.owner, delta.rule.id}, take(place));
  if (!done) return done;
  const std::string what = std::string(delta.uplink ? "uplink rule " : "rule ") +
                           std::to_string(delta.rule.id) + " of " + delta.rule.owner;
  if (delta.created) {
    if (place != 0) return fail(what + " is in the document already");
    return write_document_rule(move, delta.uplink, delta.rule);
  }
  if (place == 0) return fail(what + " is not in the document");
  return database_.run("DELETE FROM move_rules WHERE seq=?", {place});
}

Result<void> SqliteWriter::write_settled(const SettledMove& move) {
  const int role = static_cast<int>(move.role);
  auto done = database_.run(
      "DELETE FROM move_rules WHERE move IN (SELECT seq FROM moves WHERE role=? AND id=?)",
      {role, move.id});
  if (done) done = database_.run("DELETE FROM moves WHERE role=? AND id=?", {role, move.id});
  if (done) {
    done = database_.run(
        "INSERT INTO settled(role, id, vm, peer, done, epoch, epoch_host, why, sum) VALUES(?, ?, "
        "?, ?, ?, ?, ?, ?, ?)",
        {role, move.id, move.vm, move.peer, move.done, move.epoch.counter, move.epoch.host,
         move.why, sum_of_settled(move)});
  }
  if (done)
    done = database_.run("DELETE FROM settled WHERE seq<=?",
                         {database_.last_row() - static_cast<int64_t>(kMaxSettled)});
  return done;
}

Result<void> SqliteWriter::write_policy(const JournalBatch& batch) {
  Result<void> done;
  const auto run = [&](const char* sql, std::initializer_list<Value> values) {
    if (done) done = database_.run(sql, values);
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
    const std::string body = endpoint_body(endpoint);
    run("INSERT OR REPLACE INTO endpoints(name, body, sum) VALUES(?, ?, ?)",
        {endpoint.profile.name, body, sum_of_endpoint(endpoint.profile.name, body)});
  }
  for (const StoredRule& rule : batch.created) {
    run("INSERT OR REPLACE INTO rules(owner, id, inside, text, sum) VALUES(?, ?, ?, ?, ?)",
        {rule.owner, rule.id, rule.inside, rule.text, sum_of_rule(rule)});
  }
  if (batch.replace_configured) {
    run("DELETE FROM configured", {});
    for (size_t i = 0; i < batch.configured.size(); ++i) {
      run("INSERT INTO configured(seq, line, sum) VALUES(?, ?, ?)",
          {static_cast<int64_t>(i), batch.configured[i],
           sum_of_configured(i, batch.configured[i])});
    }
  }
  if (batch.forget_policy || !batch.endpoints.empty() || !batch.created.empty() ||
      batch.replace_configured) {
    run("UPDATE meta SET value='yes', sum=? WHERE name='written' AND value='no'",
        {sum_of_meta("written", "yes")});
  }
  return done;
}

}  // namespace godwit::migration
