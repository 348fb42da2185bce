// SPDX-License-Identifier: Apache-2.0
#include "control/state/stored_state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "control/config/scratch_store.h"
#include "dataplane/rules/flow_command.h"
#include "migration/journal/policy_record.h"
#include "migration/policy/document_json.h"

namespace godwit::control {
namespace {

using migration::OwnedRule;
using migration::StoredEndpoint;
using migration::StoredPolicy;
using migration::StoredRule;

constexpr size_t kMaxToldLost = 20;

std::string text(const Place& place) {
  return place.file + ":" + std::to_string(place.line) + ":" + std::to_string(place.column);
}

StoredEndpoint endpoint_of(const EndpointConfig& config) {
  StoredEndpoint out;
  out.profile = config.profile;
  if (config.vhost) {
    out.socket = config.vhost->socket;
    out.server = config.vhost->server;
  }
  out.uplink = config.uplink;
  return out;
}

// A line of `configured`: "uplink NAME", "endpoint NAME {..}", "rule ID flow create ..".
std::string line_of(const StoredEndpoint& endpoint) {
  return "endpoint " + endpoint.profile.name + " " +
         nlohmann::json{{"profile", migration::to_json(endpoint.profile)},
                        {"socket", endpoint.socket},
                        {"server", endpoint.server},
                        {"uplink", endpoint.uplink}}
             .dump();
}

struct Configured {
  std::set<std::string> uplinks;
  std::map<std::string, std::string> endpoints;             // name -> line
  std::multimap<std::string, uint32_t, std::less<>> rules;  // text -> id
};

Configured read_configured(const std::vector<std::string>& lines) {
  Configured out;
  for (const std::string& line : lines) {
    const size_t first = line.find(' ');
    const size_t second = std::min(line.find(' ', first + 1), line.size());
    if (first == std::string::npos) continue;
    const std::string kind = line.substr(0, first),
                      name = line.substr(first + 1, second - first - 1);
    if (kind == "uplink") out.uplinks.insert(name);
    if (kind == "endpoint") out.endpoints.emplace(name, line);
    if (kind == "rule" && second < line.size())
      out.rules.emplace(line.substr(second + 1),
                        static_cast<uint32_t>(std::strtoul(name.c_str(), nullptr, 10)));
  }
  return out;
}

class Combiner {
 public:
  Combiner(const HostConfig& config, const StoredPolicy& stored,
           const std::map<std::string, migration::Epoch>& epochs)
      : config_(config),
        stored_(stored),
        epochs_(epochs),
        old_(read_configured(stored.configured)) {
    for (const StoredEndpoint& endpoint : stored.endpoints)
      endpoints_.emplace(endpoint.profile.name, endpoint);
    for (const StoredRule& rule : stored.rules) {
      rules_.push_back(&rule);
      by_id_.emplace(OwnedRule{rule.owner, rule.id}, &rule);
      next_id_[rule.owner] = std::max(next_id_[rule.owner], rule.id + 1);
    }
  }

  CombinedPolicy run() {
    uplinks();
    std::set<std::string> named;
    for (const EndpointConfig& endpoint : config_.endpoints) {
      named.insert(endpoint.profile.name);
      add_endpoint(endpoint);
    }
    rules();
    lose_rules_of_removed_uplinks();
    for (const auto& [name, line] : old_.endpoints) {
      if (!named.contains(name)) remove_endpoint(name, line);
    }
    finish();
    return std::move(out_);
  }

 private:
  // It was here and has gone to another host, or it came from one; its place is no longer the
  // file's to say.
  bool has_moved(const std::string& name) const {
    const auto epoch = epochs_.find(std::string(dataplane::vm_of(name)));
    return epoch != epochs_.end() && epoch->second.counter > 0;
  }
  bool is_away(const std::string& name) const {
    const auto known = endpoints_.find(name);
    return has_moved(name) && (known == endpoints_.end() || known->second.socket.empty());
  }

  void uplinks() {
    for (const UplinkConfig& uplink : config_.uplinks) {
      out_.policy.configured.push_back("uplink " + uplink.name);
      endpoints_.erase(uplink.name);
      old_.uplinks.erase(uplink.name);
    }
    for (const std::string& name : old_.uplinks) endpoints_.erase(name);
  }
  void lose_rules_of_removed_uplinks() {
    if (old_.uplinks.empty()) return;
    std::erase_if(rules_, [&](const StoredRule* rule) {
      std::string gone = old_.uplinks.contains(rule->owner) ? rule->owner : "";
      if (auto parsed = dataplane::parse_rule(rule->text)) {
        dataplane::for_each_endpoint_name(*parsed, [&](const std::string& name) {
          if (old_.uplinks.contains(name)) gone = name;
        });
      }
      if (gone.empty()) return false;
      out_.lost.push_back({true, rule->owner, rule->id, rule->text,
                           "the uplink " + gone + " is no longer in the file"});
      return true;
    });
  }

  void add_endpoint(const EndpointConfig& config) {
    const StoredEndpoint wanted = endpoint_of(config);
    const std::string& name = wanted.profile.name;
    const std::string line = line_of(wanted);
    const auto before = old_.endpoints.find(name);
    if (before != old_.endpoints.end() && before->second == line) {
      out_.policy.configured.push_back(line);
      return;
    }
    const auto known = endpoints_.find(name);
    const bool elsewhere = known != endpoints_.end() && known->second.socket != wanted.socket;
    if (has_moved(name) && elsewhere) {
      out_.notes.push_back(text(config.place) + ": " + name +
                           (known->second.socket.empty() ? " has moved to another host"
                                                         : " has come here by a move") +
                           ": what the file newly says of it is not applied");
      if (before != old_.endpoints.end()) out_.policy.configured.push_back(before->second);
      return;
    }
    out_.policy.configured.push_back(line);
    endpoints_[name] = wanted;
  }

  void rules() {
    // What both have keeps its id, whether it is still in force or not.
    std::vector<const RuleConfig*> added;
    std::set<OwnedRule> claimed;
    std::vector<std::pair<size_t, std::string>> lines;  // in the file's order
    for (size_t i = 0; i < config_.rules.size(); ++i) {
      const RuleConfig& rule = config_.rules[i];
      const auto before = old_.rules.find(rule.text);
      if (before == old_.rules.end()) {
        added.push_back(&rule);
        continue;
      }
      keep_line(rule, before->second);
      claimed.emplace(owner_of(rule.text), before->second);
      old_.rules.erase(before);
    }
    std::set<const StoredRule*> removed;
    for (const auto& [line, id] : old_.rules) {
      const auto command = dataplane::parse_flow_command(line);
      const auto found = command ? by_id_.find({command->port, id}) : by_id_.end();
      if (found != by_id_.end() && found->second->text == dataplane::to_text(command->rule))
        removed.insert(found->second);
    }
    std::erase_if(rules_, [&](const StoredRule* rule) { return removed.contains(rule); });
    std::multimap<std::pair<std::string, std::string>, const StoredRule*>
        free;  // by owner and text
    if (!added.empty()) {
      for (const StoredRule* rule : rules_) {
        if (!claimed.contains({rule->owner, rule->id}))
          free.emplace(std::pair(rule->owner, rule->text), rule);
      }
    }
    for (const RuleConfig* rule : added) add_rule(*rule, free);
  }

  static std::string owner_of(std::string_view line) {
    constexpr std::string_view kHead = "flow create ";
    if (!line.starts_with(kHead)) return {};
    line.remove_prefix(kHead.size());
    return std::string(line.substr(0, line.find(' ')));
  }
  void keep_line(const RuleConfig& rule, uint32_t id) {
    out_.policy.configured.push_back("rule " + std::to_string(id) + " " + rule.text);
  }

  void add_rule(const RuleConfig& config,
                std::multimap<std::pair<std::string, std::string>, const StoredRule*>& free) {
    auto command = dataplane::parse_flow_command(config.text);
    if (!command) {
      out_.changed = true;  // check_policy says where and why
      return;
    }
    const std::string& owner = command->port;
    std::string canonical = dataplane::to_text(command->rule);
    if (const auto same = free.find({owner, canonical}); same != free.end()) {
      keep_line(config, same->second->id);
      free.erase(same);
      return;
    }
    if (is_away(owner)) {
      out_.notes.push_back(
          text(config.place) + ": " + owner +
          " has moved to another host, which owns its rules: this one is not created here");
      return;
    }
    const uint32_t id = next_id_[owner]++;
    keep_line(config, id);
    out_.places.emplace(OwnedRule{owner, id}, config.place);
    made_.push_back({owner, id, {}, std::move(canonical)});
  }

  void remove_endpoint(const std::string& name, const std::string& line) {
    const auto known = endpoints_.find(name);
    if (known == endpoints_.end()) return;
    if (line_of(known->second) != line) {
      if (known->second.socket.empty())
        known->second.implicit = true;  // it has gone; the name stays while rules have it
      return;
    }
    const auto owns = [&](const auto& rule) { return rule.owner == name; };
    const bool has_rules =
        std::ranges::any_of(rules_, [&](const StoredRule* rule) { return owns(*rule); }) ||
        std::ranges::any_of(made_, owns);
    StoredEndpoint left;
    left.profile.name = name;
    left.implicit = !has_rules;
    if (has_rules)
      out_.notes.push_back(config_.state.place.file + ": endpoint " + name +
                           " is no longer in the file but has rules that were created by command: "
                           "they stay, and it has no port");
    known->second = left;
  }

  void finish() {
    for (auto& [name, endpoint] : endpoints_) out_.policy.endpoints.push_back(endpoint);
    for (const StoredRule* rule : rules_) out_.policy.rules.push_back(*rule);
    out_.policy.rules.insert(out_.policy.rules.end(), made_.begin(), made_.end());
    out_.policy.written = true;
    out_.changed = out_.changed || !stored_.written || out_.policy.configured != stored_.configured;
  }

  const HostConfig& config_;
  const StoredPolicy& stored_;
  const std::map<std::string, migration::Epoch>& epochs_;
  Configured old_;
  std::map<std::string, StoredEndpoint> endpoints_;
  std::vector<const StoredRule*> rules_;
  std::map<OwnedRule, const StoredRule*> by_id_;
  std::map<std::string, uint32_t> next_id_;
  std::vector<StoredRule> made_;
  CombinedPolicy out_;
};

std::string lock_path(const HostConfig& config) { return config.state.directory + "/lock"; }
std::string file_path(const HostConfig& config) { return config.state.directory + "/state.sqlite"; }
Unexpected fail_at(const Place& place, const std::string& what) {
  return fail(text(place) + ": " + what);
}

// Without the file's own errors being placed, nothing is combined.
Result<CombinedPolicy> combine_checked(const HostConfig& config, migration::Journal& journal) {
  auto stored = journal.policy();
  if (!stored) return fail(stored.error());
  CombinedPolicy combined = combine(config, *stored, journal.epochs());
  if (combined.changed) {
    if (auto good = check_policy(config); !good) return fail(good.error());
  }
  return combined;
}

}  // namespace

CombinedPolicy combine(const HostConfig& config, const StoredPolicy& stored,
                       const std::map<std::string, migration::Epoch>& epochs) {
  return Combiner(config, stored, epochs).run();
}

Result<std::unique_ptr<StateDirectory>> StateDirectory::open(const HostConfig& config) {
  const StateConfig& state = config.state;
  if (mkdir(state.directory.c_str(), 0700) != 0 && errno != EEXIST)
    return fail_at(state.place, "state directory " + state.directory + ": " + std::strerror(errno));
  std::unique_ptr<StateDirectory> made(new StateDirectory);
  made->lock_ = ::open(lock_path(config).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (made->lock_ < 0)
    return fail_at(state.place, "state directory " + state.directory + ": " + std::strerror(errno));
  if (flock(made->lock_, LOCK_EX | LOCK_NB) != 0) {
    char pid[32]{};
    const ssize_t length = pread(made->lock_, pid, sizeof pid - 1, 0);
    const std::string who = length > 0 ? " (pid " + std::string(pid, strcspn(pid, "\n")) + ")" : "";
    return fail_at(state.place, "state directory " + state.directory + " is another daemon's" +
                                    who + ": one directory for each");
  }
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(made->lock_, 0) != 0 || pwrite(made->lock_, pid.data(), pid.size(), 0) < 0) {
    return fail_at(state.place, lock_path(config) + ": " + std::strerror(errno));
  }
  auto journal =
      migration::SqliteJournal::open(file_path(config), {config.host, state.sync_ms > 0});
  if (!journal) return fail(journal.error());
  made->journal_ = std::move(*journal);
  return made;
}

StateDirectory::~StateDirectory() {
  journal_.reset();
  if (lock_ >= 0) close(lock_);
}

Result<RestoredPolicy> restore(const HostConfig& config, migration::Journal& journal,
                               dataplane::PolicyStore& store, bool lose) {
  auto combined = combine_checked(config, journal);
  if (!combined) return fail(combined.error());
  RestoredPolicy out{std::move(*combined), {}};
  if (auto put = put_uplinks(config, store); !put) return fail(put.error());
  const dataplane::EndpointRecord* uplink =
      config.migration.uplink.empty() ? nullptr : store.find(config.migration.uplink);
  std::vector<migration::LostPolicy> lost;
  if (auto done = migration::restore_policy(store, uplink == nullptr ? EndpointId{} : uplink->id,
                                            out.combined.policy, &lost, lose);
      !done)
    return fail(done.error());
  lost.insert(lost.begin(), out.combined.lost.begin(), out.combined.lost.end());
  for (const migration::LostPolicy& one : lost) {
    const auto placed =
        one.is_rule ? out.combined.places.find({one.name, one.id}) : out.combined.places.end();
    const std::string where =
        placed != out.combined.places.end() ? text(placed->second) : config.state.directory;
    out.lost.push_back(
        where + ": " + (one.is_rule ? "rule " + std::to_string(one.id) + " of " : "endpoint ") +
        one.name + ": " + one.why + (one.text.empty() ? "" : ": `" + one.text + "`"));
  }
  if (out.lost.empty() || lose) return out;
  std::string message;
  for (size_t i = 0; i < std::min(out.lost.size(), kMaxToldLost); ++i)
    message += out.lost[i] + "\n";
  if (out.lost.size() > kMaxToldLost)
    message += "... and " + std::to_string(out.lost.size() - kMaxToldLost) + " more\n";
  return fail(message +
              "these cannot be restored, so the switch does not start without them: put back what "
              "they need, or forget them by `godwitd --forget-lost --config " +
              config.state.place.file + "`");
}

Result<void> write_restored(const RestoredPolicy& restored, const dataplane::PolicyStore& store,
                            migration::Journal& journal) {
  const StoredPolicy& policy = restored.combined.policy;
  const bool whole = restored.combined.changed || !restored.lost.empty();
  migration::JournalBatch batch;
  batch.forget_policy = batch.replace_configured = whole;
  if (whole) batch.configured = policy.configured;
  for (const StoredEndpoint& endpoint : policy.endpoints) {
    const bool there = store.find(endpoint.profile.name) != nullptr;
    if (there && whole) batch.endpoints.push_back(endpoint);
    if (!there && !whole)
      batch.gone.push_back(endpoint.profile.name);  // implicit, and nothing named it
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
  if (!std::filesystem::exists(file_path(config), error)) {
    const std::filesystem::path directory = config.state.directory;
    const auto wanted =
        std::filesystem::exists(directory, error) ? directory : directory.parent_path();
    if (!std::filesystem::is_directory(wanted, error))
      return fail_at(config.state.place, "state directory " + config.state.directory + ": " +
                                             wanted.string() + " is not a directory");
    return std::vector<std::string>{};
  }
  auto journal = migration::SqliteJournal::open(file_path(config), {config.host, false, true});
  if (!journal) return fail(journal.error());
  if (auto moves = (*journal)->moves(); !moves) return fail(moves.error());
  ScratchStore scratch;
  auto restored = restore(config, **journal, scratch.store, false);
  if (!restored) return fail(restored.error());
  return restored->combined.notes;
}

Result<std::vector<std::string>> forget_lost(const HostConfig& config) {
  if (config.state.directory.empty())
    return fail(config.state.place.file +
                ": no state directory is configured, so there is nothing to forget");
  auto directory = StateDirectory::open(config);
  if (!directory) return fail(directory.error());
  ScratchStore scratch;
  auto restored = restore(config, (*directory)->journal(), scratch.store, true);
  if (!restored) return fail(restored.error());
  if (!restored->lost.empty()) {
    if (auto written = write_restored(*restored, scratch.store, (*directory)->journal()); !written)
      return fail(written.error());
    if (auto synced = (*directory)->journal().sync(); !synced) return fail(synced.error());
  }
  return restored->lost;
}

}  // namespace godwit::control
