// SPDX-License-Identifier: Apache-2.0
#include "control/state/restore.h"

#include <algorithm>
#include <filesystem>

#include "control/config/config_policy.h"
#include "control/config/scratch_store.h"
#include "control/state/state_directory.h"
#include "migration/journal/policy_record.h"
#include "migration/journal/sqlite_journal.h"

namespace godwit::control {
namespace {

using migration::StoredEndpoint;
using migration::StoredPolicy;
using migration::StoredRule;

constexpr size_t kMaxLostInMessage = 20;

// Reconciles the file with the journal. An error of the file itself comes first, with its place.
Result<ReconciledPolicy> reconcile_checked(const HostConfig& config, migration::Journal& journal) {
  auto stored = journal.policy();
  if (!stored) return fail(stored.error());
  ReconciledPolicy reconciled = reconcile(config, *stored, journal.epochs());
  if (reconciled.changed) {
    if (auto good = check_policy(config); !good) return fail(good.error());
  }
  return reconciled;
}

// Returns the place of a rule in the file, or the state directory, and why it is lost.
std::string lost_text(const migration::LostPolicy& one, const ReconciledPolicy& reconciled,
                      const HostConfig& config) {
  const auto placed =
      one.is_rule ? reconciled.places.find({one.name, one.id}) : reconciled.places.end();
  const std::string where =
      placed != reconciled.places.end() ? to_text(placed->second) : config.state.directory;
  return where + ": " + (one.is_rule ? "rule " + std::to_string(one.id) + " of " : "endpoint ") +
         one.name + ": " + one.why + (one.text.empty() ? "" : ": `" + one.text + "`");
}

std::string refusal_text(const std::vector<std::string>& lost, const HostConfig& config) {
  std::string message;
  for (size_t i = 0; i < std::min(lost.size(), kMaxLostInMessage); ++i) message += lost[i] + "\n";
  if (lost.size() > kMaxLostInMessage)
    message += "... and " + std::to_string(lost.size() - kMaxLostInMessage) + " more\n";
  return message +
         "the switch does not start, since these cannot be restored: put back what they need, or "
         "remove them with `godwitd --forget-lost --config " +
         config.state.place.file + "`";
}

// Adds a note for each damaged record that was set aside, kMaxLostInMessage at most.
void note_set_aside(const HostConfig& config, const migration::Journal& journal,
                    std::vector<std::string>& notes) {
  size_t left = kMaxLostInMessage;
  for (const migration::SetAside& record : journal.set_aside()) {
    if (left-- == 0) break;
    notes.push_back(config.state.directory + ": " + record.what + " is damaged and was set aside" +
                    (record.endpoint.empty()
                         ? ""
                         : "; the port of " + record.endpoint +
                               " stays closed until `godwitd --forget-lost` was run"));
  }
  if (journal.set_aside().size() > kMaxLostInMessage)
    notes.push_back(config.state.directory + ": " + std::to_string(journal.set_aside().size()) +
                    " damaged records were set aside in all");
}

}  // namespace

Result<RestoredPolicy> restore(const HostConfig& config, migration::Journal& journal,
                               dataplane::PolicyStore& store, bool lose) {
  auto reconciled = reconcile_checked(config, journal);
  if (!reconciled) return fail(reconciled.error());
  RestoredPolicy out{std::move(*reconciled), {}};
  note_set_aside(config, journal, out.reconciled.notes);
  if (auto put = put_uplinks(config, store); !put) return fail(put.error());
  const dataplane::EndpointRecord* uplink =
      config.migration.uplink.empty() ? nullptr : store.find(config.migration.uplink);
  std::vector<migration::LostPolicy> lost;
  if (auto done = migration::restore_policy(store, uplink == nullptr ? EndpointId{} : uplink->id,
                                            out.reconciled.policy, &lost, lose);
      !done)
    return fail(done.error());
  lost.insert(lost.begin(), out.reconciled.lost.begin(), out.reconciled.lost.end());
  for (const migration::LostPolicy& one : lost)
    out.lost.push_back(lost_text(one, out.reconciled, config));
  if (out.lost.empty() || lose) return out;
  return fail(refusal_text(out.lost, config));
}

Result<void> write_restored(const RestoredPolicy& restored, const dataplane::PolicyStore& store,
                            migration::Journal& journal) {
  const StoredPolicy& policy = restored.reconciled.policy;
  const bool whole = restored.reconciled.changed || !restored.lost.empty();
  migration::JournalBatch batch;
  batch.forget_policy = batch.replace_configured = whole;
  if (whole) batch.configured = policy.configured;
  for (const StoredEndpoint& endpoint : policy.endpoints) {
    const bool there = store.find(endpoint.profile.name) != nullptr;
    if (there && whole) batch.endpoints.push_back(endpoint);
    if (!there && !whole)
      batch.gone.push_back(endpoint.profile.name);  // an implicit endpoint that no rule names
  }
  for (const StoredRule& rule : policy.rules) {
    if (!whole) break;
    const dataplane::EndpointRecord* owner = store.find(rule.owner);
    const dataplane::RuleRecord* record =
        owner == nullptr ? nullptr : store.rule(owner->id, RuleId{rule.id});
    if (record != nullptr) batch.created.push_back(migration::stored_rule(store, *record));
  }
  return batch.empty() ? Result<void>() : journal.write(batch);
}

Result<std::vector<std::string>> check_state(const HostConfig& config) {
  if (config.state.directory.empty()) return std::vector<std::string>{};
  std::error_code error;
  if (!std::filesystem::exists(journal_path(config), error)) {
    const std::filesystem::path directory = config.state.directory;
    const auto wanted =
        std::filesystem::exists(directory, error) ? directory : directory.parent_path();
    if (!std::filesystem::is_directory(wanted, error))
      return fail(directory_error(config.state, ": " + wanted.string() + " is not a directory"));
    return std::vector<std::string>{};
  }
  auto journal = migration::SqliteJournal::open(journal_path(config), {config.host, false, true});
  if (!journal) return fail(journal.error());
  if (auto moves = (*journal)->moves(); !moves) return fail(moves.error());
  ScratchStore scratch;
  auto restored = restore(config, **journal, scratch.store, false);
  if (!restored) return fail(restored.error());
  return restored->reconciled.notes;
}

Result<std::vector<std::string>> forget_lost(const HostConfig& config) {
  if (config.state.directory.empty())
    return fail(config.state.place.file + ": no state directory is configured");
  auto directory = StateDirectory::open(config);
  if (!directory) return fail(directory.error());
  ScratchStore scratch;
  auto restored = restore(config, (*directory)->journal(), scratch.store, true);
  if (!restored) return fail(restored.error());
  migration::SqliteJournal& journal = (*directory)->journal();
  if (!restored->lost.empty()) {
    if (auto written = write_restored(*restored, scratch.store, journal); !written)
      return fail(written.error());
    if (auto synced = journal.sync(); !synced) return fail(synced.error());
  }
  std::vector<std::string> lost = std::move(restored->lost);
  for (const migration::SetAside& record : journal.set_aside())
    lost.push_back(config.state.directory + ": damaged: " + record.what);
  if (auto forgotten = journal.forget_set_aside(); !forgotten) return fail(forgotten.error());
  return lost;
}

}  // namespace godwit::control
