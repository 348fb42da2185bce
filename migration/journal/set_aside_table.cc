// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/set_aside_table.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "migration/journal/database.h"

namespace godwit::migration {

namespace {

constexpr const char* kTable =
    "CREATE TABLE IF NOT EXISTS set_aside(seq INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT, "
    "endpoint TEXT, what TEXT, row TEXT)";

// How the rows of a table are found. The statements have one value.
struct Source {
  std::string_view table;
  bool by_key;
  const char* select;
  const char* remove;
};
constexpr Source kSources[] = {
    {"meta", true, "SELECT * FROM meta WHERE name=?", "DELETE FROM meta WHERE name=?"},
    {"epochs", true, "SELECT * FROM epochs WHERE vm=?", "DELETE FROM epochs WHERE vm=?"},
    {"endpoints", true, "SELECT * FROM endpoints WHERE name=?",
     "DELETE FROM endpoints WHERE name=?"},
    {"moves", false, "SELECT * FROM moves WHERE seq=?", "DELETE FROM moves WHERE seq=?"},
    {"move_rules", false, "SELECT * FROM move_rules WHERE move=?",
     "DELETE FROM move_rules WHERE move=?"},
    {"settled", false, "SELECT * FROM settled WHERE seq=?", "DELETE FROM settled WHERE seq=?"},
    {"rules", false, "SELECT * FROM rules WHERE seq=?", "DELETE FROM rules WHERE seq=?"},
    {"configured", false, "SELECT * FROM configured WHERE seq>=?",
     "DELETE FROM configured WHERE seq>=?"},
};

std::string columns_of(const Row& row) {
  nlohmann::json out = nlohmann::json::array();
  for (int column = 0; column < row.columns(); ++column) out.push_back(row.text(column));
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Result<void> SetAsideTable::take(const DamagedRow& row) {
  const auto source = std::ranges::find(kSources, row.about.table, &Source::table);
  if (source == std::end(kSources)) return database_.failure("no table " + row.about.table);
  const Value which = source->by_key ? Value(row.key) : Value(row.number);
  std::vector<std::string> texts;
  auto done = database_.run(source->select, {which}, [&](const Row& found) -> Result<void> {
    texts.push_back(columns_of(found));
    return {};
  });
  for (const std::string& text : texts) {
    if (!done) break;
    done = database_.run("INSERT INTO set_aside(source, endpoint, what, row) VALUES(?, ?, ?, ?)",
                         {row.about.table, row.about.endpoint, row.about.what, text});
  }
  return done ? database_.run(source->remove, {which}) : done;
}

Result<void> SetAsideTable::take(const std::vector<DamagedRow>& rows) {
  auto done = database_.run("BEGIN IMMEDIATE");
  if (!done) return done;
  done = database_.execute(kTable);
  for (const DamagedRow& row : rows) {
    if (done) done = take(row);
  }
  if (done) done = database_.run("COMMIT");
  if (!done && database_.in_transaction()) (void)database_.run("ROLLBACK");
  return done;
}

Result<bool> SetAsideTable::exists() {
  auto tables = database_.number("SELECT count(*) FROM sqlite_master WHERE name='set_aside'");
  if (!tables) return fail(tables.error());
  return *tables != 0;
}

Result<std::vector<SetAside>> SetAsideTable::read() {
  std::vector<SetAside> out;
  auto there = exists();
  if (!there) return fail(there.error());
  if (!*there) return out;
  auto done = database_.run("SELECT source, endpoint, what FROM set_aside ORDER BY seq", {},
                            [&](const Row& row) -> Result<void> {
                              out.push_back({row.text(0), row.text(1), row.text(2)});
                              return {};
                            });
  if (!done) return fail(done.error());
  return out;
}

Result<void> SetAsideTable::forget() {
  auto there = exists();
  if (!there) return fail(there.error());
  return *there ? database_.run("DELETE FROM set_aside") : Result<void>{};
}

}  // namespace godwit::migration
