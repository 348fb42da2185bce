// SPDX-License-Identifier: Apache-2.0
//
// The policy store: the endpoints and rules of this switch, and the one way to change them.
//
// The store is read by name and id. It is changed by a Transaction (transaction.h), which stages
// operations one by one and publishes all of them with one store. Each rule lands in the table it
// belongs to:
//
//   ingress, egress                           the tables of its owner, the port of `flow create`
//   transfer with an origin in its pattern    the transfer table of that origin, and moves with it
//   transfer without an origin                the shared transfer table of the switch
//
// A moving VM's rules travel as a DetachedPolicy (detached_policy.h): tables built aside for one
// endpoint and attached at commit by moving one pointer. Removing a VM's rules clears that pointer.
//
// Invariants: every endpoint that a rule names exists here, and the rule keeps it alive. RuleIds
// are unique for each owner. Sequence numbers only grow, so "older" is well defined. Whatever a
// worker might see is freed only after a grace period. The counts of removed rules are added to
// their owner's `removed` count.
//
// Thread safety: the control thread only. Workers read what the StateCell holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/rcu.h"
#include "base/result.h"
#include "dataplane/policy/detached_policy.h"
#include "dataplane/policy/records.h"
#include "dataplane/policy/transaction.h"
#include "dataplane/rules/rule.h"
#include "dataplane/rules/vocabulary.h"
#include "dataplane/state/counter_bank.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

inline constexpr size_t kMaxEndpoints = 1u << 20;
inline constexpr size_t kMaxRules = 8u << 20;

enum class RuleChangeKind : uint8_t { kCreated, kDestroyed };

struct RuleChange {
  RuleChangeKind kind;
  EndpointId inside;  // the endpoint whose table holds or held the rule; invalid for the shared one
  const RuleRecord* record;
};

class PolicyStore {
 public:
  PolicyStore(StateCell& cell, Reclaimer& reclaimer, CounterBank& counters,
              HashKeySource keys = random_hash_key);
  ~PolicyStore();
  PolicyStore(const PolicyStore&) = delete;
  PolicyStore& operator=(const PolicyStore&) = delete;

  // Look-ups return nullptr for what does not exist.
  [[nodiscard]] const EndpointRecord* find(std::string_view name) const;
  [[nodiscard]] const EndpointRecord* endpoint(EndpointId id) const;
  [[nodiscard]] const EndpointRecord* by_port(PortId port) const;
  [[nodiscard]] const RuleRecord* rule(EndpointId owner, RuleId id) const;

  // Lists of endpoints are sorted by name.
  [[nodiscard]] std::vector<const EndpointRecord*> endpoints() const;
  [[nodiscard]] std::vector<const EndpointRecord*> endpoints_of_vm(std::string_view vm) const;

  // Lists of rules are in canonical order: direction, group, priority, sequence.
  // Returns the rules in the endpoint's tables, which a move takes along.
  [[nodiscard]] std::vector<const RuleRecord*> rules_inside(EndpointId endpoint) const;
  // Returns the rules in other tables of this host that send to the endpoint.
  [[nodiscard]] std::vector<const RuleRecord*> receive_rules(EndpointId endpoint) const;
  // Returns the rules in uplinks' tables that have outputs, all of them among `endpoints`.
  [[nodiscard]] std::vector<const RuleRecord*> uplink_rules_to(
      std::span<const EndpointId> endpoints) const;
  // Returns whether the rule lives in an uplink's table.
  [[nodiscard]] bool of_uplink(const RuleRecord& record) const;

  [[nodiscard]] Count count(const RuleRecord& record) const {
    return counters_.read(record.entry->counter);
  }
  [[nodiscard]] uint64_t generation() const { return generation_; }
  [[nodiscard]] size_t rule_count() const { return rules_.size(); }

  // Builds tables aside for `endpoint` from `specs`. Fails unless every endpoint that the rules
  // name exists (see missing_endpoints).
  Result<std::unique_ptr<DetachedPolicy>> build(EndpointId endpoint,
                                                std::span<const RuleSpec> specs);
  // Returns the endpoint names in the rules that do not exist here, sorted.
  [[nodiscard]] std::vector<std::string> missing_endpoints(std::span<const RuleSpec> specs) const;
  // Removes implicit endpoints that no rule names any more. Called after commits and by the timer.
  void collect_implicit();

  // Sets EndpointRecord::guarded_by. An empty reason removes the guard.
  void set_guard(EndpointId endpoint, std::string reason);
  // Runs `action` on the control thread once no worker can still act on what was published before
  // this call.
  void after_grace(std::function<void()> action) { reclaimer_.defer(std::move(action)); }

  // Sets the function called after each commit for every rule created or destroyed by itself, and
  // for every outside rule that arrived. Rules in tables moved by attach and detach are not
  // reported.
  void on_rule_change(std::function<void(const RuleChange&)> listener) {
    listener_ = std::move(listener);
  }
  // Sets the function called before an endpoint's id is given to another endpoint, so that holders
  // of ids (the FDB) can forget it.
  void on_endpoint_gone(std::function<void(EndpointId)> listener) {
    gone_listener_ = std::move(listener);
  }

 private:
  friend class Transaction;
  friend class DetachedPolicy;
  struct Places;
  struct Published;

  EndpointRecord* record(EndpointId id);
  // Compiles the rule and resolves its names. The entry is staged: visible never, in no table yet.
  Result<std::unique_ptr<RuleRecord>> make_record(EndpointId owner, RuleId id, const Rule& rule);
  Result<EndpointId> resolve(std::string_view name) const;
  [[nodiscard]] Result<RuleId> pick_id(EndpointRecord& owner, RuleId wanted);
  LiveTable& table_for(const RuleRecord& record);
  // Adds or removes the references by which a rule keeps endpoints alive.
  void name_endpoints(const RuleRecord& record, bool named);
  // Enters the record into, or removes it from, the rules, receive and inside of its endpoints.
  void link(RuleRecord& record);
  void unlink(RuleRecord& record);
  std::unique_ptr<RuleRecord> take(const RuleRecord& record);
  void retire(std::unique_ptr<RuleRecord> record);
  void forget_counts(const RuleRecord& record);
  void publish(bool endpoints_changed, uint64_t generation);
  [[nodiscard]] std::unique_ptr<const Places> make_places(uint64_t generation);
  void place(Places& places, const EndpointRecord& record, uint64_t generation);

  StateCell& cell_;
  Reclaimer& reclaimer_;
  HashKeySource keys_;
  CounterBank& counters_;
  std::vector<std::unique_ptr<EndpointRecord>> endpoints_;  // by EndpointId
  std::vector<EndpointTables> tables_;                      // by EndpointId
  std::vector<uint32_t> free_endpoints_;
  std::map<std::string, EndpointId, std::less<>> names_;
  std::unordered_map<const RuleRecord*, std::unique_ptr<RuleRecord>> rules_;
  LiveTable shared_transfer_;
  std::unique_ptr<Published> published_;
  std::function<void(const RuleChange&)> listener_;
  std::function<void(EndpointId)> gone_listener_;
  uint64_t generation_ = 0;
  uint64_t next_sequence_ = 1;
  bool transaction_open_ = false;
};

}  // namespace godwit::dataplane
