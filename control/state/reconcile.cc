// SPDX-License-Identifier: Apache-2.0
#include "control/state/reconcile.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "dataplane/policy/policy_store.h"
#include "dataplane/rules/flow_command.h"
#include "migration/policy/document_json.h"

namespace godwit::control {
namespace {

using migration::OwnedRule;
using migration::StoredEndpoint;
using migration::StoredPolicy;
using migration::StoredRule;

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

// Returns the endpoint's line of StoredPolicy::configured. The lines are "uplink NAME",
// "endpoint NAME {..}" and "rule ID flow create ..".
std::string line_of(const StoredEndpoint& endpoint) {
  return "endpoint " + endpoint.profile.name + " " +
         nlohmann::json{{"profile", migration::to_json(endpoint.profile)},
                        {"socket", endpoint.socket},
                        {"server", endpoint.server},
                        {"uplink", endpoint.uplink}}
             .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The configuration as it was last applied.
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

// Builds one reconciled policy: endpoints first, then rules, then the removed endpoints.
class Reconciler {
 public:
  Reconciler(const HostConfig& config, const StoredPolicy& stored,
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

  ReconciledPolicy run() {
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
  // Returns whether the endpoint's VM has ever moved. Its location is then no longer the file's.
  bool has_moved(const std::string& name) const {
    const auto epoch = epochs_.find(std::string(dataplane::vm_of(name)));
    return epoch != epochs_.end() && epoch->second.counter > 0;
  }
  // Returns whether the endpoint's VM is on another host now.
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
      out_.notes.push_back(to_text(config.place) + ": " + name +
                           (known->second.socket.empty() ? " has moved to another host"
                                                         : " has come here by a move") +
                           ": the changed line is not applied");
      if (before != old_.endpoints.end()) out_.policy.configured.push_back(before->second);
      return;
    }
    out_.policy.configured.push_back(line);
    endpoints_[name] = wanted;
  }

  // Stored rules that no line of the file has, by owner and text.
  using FreeRules = std::multimap<std::pair<std::string, std::string>, const StoredRule*>;

  void rules() {
    // A rule of both keeps its id, whether it is still in force or not.
    std::vector<const RuleConfig*> added;
    std::set<OwnedRule> claimed;
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
    remove_dropped_rules();
    FreeRules free;
    if (!added.empty()) {
      for (const StoredRule* rule : rules_) {
        if (!claimed.contains({rule->owner, rule->id}))
          free.emplace(std::pair(rule->owner, rule->text), rule);
      }
    }
    for (const RuleConfig* rule : added) add_rule(*rule, free);
  }

  // Removes the rules whose lines are no longer in the file: the lines left in `old_.rules`.
  void remove_dropped_rules() {
    std::set<const StoredRule*> removed;
    for (const auto& [line, id] : old_.rules) {
      const auto command = dataplane::parse_flow_command(line);
      const auto found = command ? by_id_.find({command->port, id}) : by_id_.end();
      if (found != by_id_.end() && found->second->text == dataplane::to_text(command->rule))
        removed.insert(found->second);
    }
    std::erase_if(rules_, [&](const StoredRule* rule) { return removed.contains(rule); });
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

  void add_rule(const RuleConfig& config, FreeRules& free) {
    auto command = dataplane::parse_flow_command(config.text);
    if (!command) {
      out_.changed = true;  // check_policy() reports the error with its place
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
          to_text(config.place) + ": " + owner +
          " has moved to another host, which owns its rules: the rule is not created here");
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
        known->second.implicit = true;  // the VM has left; the name stays while rules use it
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
                           "the rules stay, and the endpoint has no port");
    known->second = left;
  }

  void finish() {
    for (auto& [name, endpoint] : endpoints_) out_.policy.endpoints.push_back(endpoint);
    for (const StoredRule* rule : rules_) out_.policy.rules.push_back(*rule);
    out_.policy.rules.insert(out_.policy.rules.end(), made_.begin(), made_.end());
    out_.policy.written = true;
    out_.policy.incomplete = stored_.incomplete;
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
  ReconciledPolicy out_;
};

}  // namespace

ReconciledPolicy reconcile(const HostConfig& config, const StoredPolicy& stored,
                           const std::map<std::string, migration::Epoch>& epochs) {
  return Reconciler(config, stored, epochs).run();
}

}  // namespace godwit::control
