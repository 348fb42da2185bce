// SPDX-License-Identifier: Apache-2.0
//
// The policy store: what endpoints and rules this switch has, and the one way to change them.
//
// Reading is by name and id. Changing is by Transaction: operations are checked and staged one by
// one, what is new is built aside, commit() publishes all of it with one store, and a Transaction
// that is not committed leaves nothing behind. Rules land in the table they belong to:
//   ingress, egress                       -> the owner's own tables (the owner: the port of `flow
//   create`) transfer with an origin in its pattern -> that origin's transfer table, so that it
//   moves with it transfer without one                  -> the switch's shared table
//
// A moving VM's rules travel as a DetachedPolicy: tables built aside for one endpoint while nothing
// is published, attached by one pointer at commit. Removing a VM's rules is the same pointer set to
// none.
//
// Invariants: a rule names endpoints that exist here (naming keeps an endpoint alive); RuleIds are
// unique for each owner; sequence numbers grow, so "older" is well defined; what readers might see
// is freed only after a grace period; counts of removed rules are kept in their owner's `removed`
// count.
//
// Thread safety: the control thread only. Workers see what StateCell holds.
#pragma once

#include <cassert>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/ids.h"
#include "base/net.h"
#include "base/rcu.h"
#include "base/result.h"
#include "dataplane/rules/rule.h"
#include "dataplane/rules/vocabulary.h"
#include "dataplane/state/counters.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

inline constexpr size_t kMaxEndpoints = 1u << 20;
inline constexpr size_t kMaxRules = 8u << 20;

// A letter, then letters, digits and ._/- ; at most kMaxEndpointName bytes.
Result<void> check_endpoint_name(std::string_view name);
// "vm7" of "vm7/net0"; the whole name where there is no '/'.
[[nodiscard]] std::string_view vm_of(std::string_view endpoint_name);

// What an endpoint is, wherever it is.
struct Profile {
  std::string name;
  EndpointKind kind = EndpointKind::kVm;
  std::vector<MacAddress> macs;
  std::vector<Ipv4Address> ipv4s;
  std::vector<Ipv6Address> ipv6s;
  std::vector<uint16_t> vlans;  // allowed, 0 = untagged; empty = all
  uint16_t mtu = 1500;
  uint16_t queues = 1;
  uint64_t features = 0;  // virtio features negotiated by its driver, 0 = not known
  MissPolicy miss = MissPolicy::kNormal;
  bool operator==(const Profile&) const = default;
};

struct RuleRecord {
  EndpointId owner;
  RuleId id;
  Rule rule;
  std::vector<EndpointId> outputs;  // endpoints its actions send to
  EndpointId origin;                // transfer rules: where the packet comes from, if named
  EndpointId inside;                // whose tables it lives in; invalid: the shared one
  RuleTable* table = nullptr;       // where its entry is
  bool staged = false;              // in a DetachedPolicy: built, not in force
  std::unique_ptr<RuleEntry> entry;
};

// One direction's rules of an endpoint. `live`: rules that the next state shows; a table without
// any is not published, since an egress table with no rule means "deliver" and one without a match
// means "drop".
struct LiveTable {
  std::unique_ptr<RuleTable> table;
  size_t live = 0;
};

// The rules in the tables of one endpoint.
struct EndpointTables {
  LiveTable ingress;
  LiveTable egress;
  LiveTable transfer;
  [[nodiscard]] LiveTable& of(Direction direction) {
    return direction == Direction::kIngress  ? ingress
           : direction == Direction::kEgress ? egress
                                             : transfer;
  }
};

struct EndpointRecord {
  EndpointId id;
  Profile profile;
  Location location;
  PortId port;  // the local port that is its, also while staged; invalid: none
  bool active = false;
  bool implicit = false;   // exists only because rules name it; goes with the last of them
  std::string guarded_by;  // not empty: changes of its rules, and of uplink rules that lead to such
                           // endpoints only, are refused, with this reason
  std::map<uint32_t, RuleRecord*> rules;  // owned rules by RuleId
  std::unordered_set<const RuleRecord*>
      receive;  // rules anywhere that send to it: its receive rules
  std::unordered_set<const RuleRecord*> inside;  // rules that live in its tables
  uint32_t next_rule_id = 0;
  uint32_t pins = 0;         // held by detached policies
  uint32_t origin_uses = 0;  // transfer rules elsewhere or here that name it as origin
  Count removed;             // of rules that are gone
  CounterId sent;
  CounterId received;
};

// A rule to be built: owner by name, id as it was (ids of other owners' rules are given anew on
// attach).
struct RuleSpec {
  std::string owner;
  RuleId id;
  Rule rule;
};

class PolicyStore;

// Tables for one endpoint, built aside. Endpoints that its rules name stay while it lives.
class DetachedPolicy {
 public:
  ~DetachedPolicy();
  DetachedPolicy(const DetachedPolicy&) = delete;
  DetachedPolicy& operator=(const DetachedPolicy&) = delete;
  [[nodiscard]] EndpointId endpoint() const { return endpoint_; }
  [[nodiscard]] size_t rules() const { return records_.size(); }
  // Deltas while it is staged. Errors leave it as it was.
  Result<void> add(const RuleSpec& spec);
  // A rule that lives in another endpoint's table (an uplink's) and comes into force with the
  // attach: it sits there already, visible never, so that attaching costs a store.
  Result<void> add_outside(const RuleSpec& spec);
  Result<void> remove_outside(std::string_view owner, const Rule& rule);  // the oldest of them
  Result<void> remove(std::string_view owner, RuleId id);

 private:
  friend class PolicyStore;
  friend class Transaction;
  DetachedPolicy(PolicyStore& store, EndpointId endpoint) : store_(store), endpoint_(endpoint) {}
  Result<std::unique_ptr<RuleRecord>> make(const RuleSpec& spec);  // for a table, but not in it yet
  void keep(std::unique_ptr<RuleRecord> record);                   // it is in its table, or will be
  void drop_outside(std::unique_ptr<RuleRecord> record);
  PolicyStore& store_;
  EndpointId endpoint_;
  EndpointTables tables_;
  std::vector<std::unique_ptr<RuleRecord>> records_;
  std::vector<std::unique_ptr<RuleRecord>> outside_;
};

struct CommitInfo {
  uint64_t generation = 0;
  std::vector<RuleId> created;             // in the order of create_rule calls
  std::vector<const RuleRecord*> arrived;  // in other endpoints' tables, with what was attached
};

// Changes, all or nothing. Each operation that returns an error has changed nothing; the others
// stay staged. Only one Transaction at a time is open; operations see the effect of earlier ones in
// it, but for the rules that attach() and detach() move: their records follow the publication,
// which so takes as long for ten as for 100,000.
class Transaction {
 public:
  explicit Transaction(PolicyStore& store);
  ~Transaction();  // not committed: everything is undone
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // Endpoints. A name that exists as implicit becomes explicit.
  Result<EndpointId> add_endpoint(const Profile& profile, const Location& location,
                                  bool implicit = false);
  // Refused while rules name it or it owns rules.
  Result<void> remove_endpoint(EndpointId endpoint);
  Result<void> set_profile(EndpointId endpoint, const Profile& profile);  // the name stays
  Result<void> set_location(EndpointId endpoint, const Location& location);
  Result<void> bind_port(EndpointId endpoint, PortId port);  // an invalid PortId: none
  Result<void> set_active(EndpointId endpoint, bool active);

  // Rules. `id`: for a rule that had one (configuration, import); else the next free one.
  Result<RuleId> create_rule(EndpointId owner, const Rule& rule, RuleId id = RuleId{});
  Result<void> destroy_rule(EndpointId owner, RuleId id);
  // All rules in the endpoint's tables go (transmit rules, its egress rules): one pointer.
  Result<void> detach(EndpointId endpoint);
  // A detached policy's tables become the endpoint's, which has none: one pointer.
  Result<void> attach(std::unique_ptr<DetachedPolicy> policy);

  // Publishes. Cannot fail: what can be refused was refused before.
  CommitInfo commit();
  // The same in two steps, for who has something urgent to do as soon as it is in force: publish()
  // is one store, finish() enters the records. Between them the store may be read for endpoints,
  // locations and ports, but not for rules.
  void publish();
  CommitInfo finish();

  // Ignore EndpointRecord::guarded_by (the migration's own changes).
  void override_guards() { override_guards_ = true; }

 private:
  friend class PolicyStore;
  struct Pending;
  void roll_back_to(size_t mark);
  [[nodiscard]] const EndpointRecord* guarding(
      const RuleRecord& record) const;  // whose guard forbids to change the rule
  void enter_attached(CommitInfo& info);
  void forget_detached();
  PolicyStore& store_;
  std::unique_ptr<Pending> pending_;
  bool override_guards_ = false;
};

enum class RuleChangeKind : uint8_t { kCreated, kDestroyed };
struct RuleChange {
  RuleChangeKind kind;
  EndpointId inside;  // whose table it is or was in; invalid: the shared one
  const RuleRecord* record;
};

class PolicyStore {
 public:
  PolicyStore(StateCell& cell, Reclaimer& reclaimer, CounterBank& counters,
              HashKeySource keys = random_hash_key);
  ~PolicyStore();
  PolicyStore(const PolicyStore&) = delete;
  PolicyStore& operator=(const PolicyStore&) = delete;

  [[nodiscard]] const EndpointRecord* find(std::string_view name) const;
  [[nodiscard]] const EndpointRecord* endpoint(EndpointId id) const;
  [[nodiscard]] const EndpointRecord* by_port(PortId port) const;
  [[nodiscard]] std::vector<const EndpointRecord*> endpoints() const;  // by name
  [[nodiscard]] std::vector<const EndpointRecord*> endpoints_of_vm(
      std::string_view vm) const;  // by name
  [[nodiscard]] const RuleRecord* rule(EndpointId owner, RuleId id) const;

  // Rules that live in the endpoint's tables (what a move takes along), in canonical order:
  // direction, group, priority, sequence.
  [[nodiscard]] std::vector<const RuleRecord*> rules_inside(EndpointId endpoint) const;
  // Rules elsewhere, of this host, that send to the endpoint.
  [[nodiscard]] std::vector<const RuleRecord*> receive_rules(EndpointId endpoint) const;
  // Whether it is in an uplink's table.
  [[nodiscard]] bool of_uplink(const RuleRecord& record) const;
  // Rules in uplinks' tables whose every output is among `endpoints` (at least one is).
  [[nodiscard]] std::vector<const RuleRecord*> uplink_rules_to(
      std::span<const EndpointId> endpoints) const;

  [[nodiscard]] Count count(const RuleRecord& record) const {
    return counters_.read(record.entry->counter);
  }
  [[nodiscard]] uint64_t generation() const { return generation_; }
  [[nodiscard]] size_t rule_count() const { return rules_.size(); }

  // Tables built aside for `endpoint` from `specs`. Each endpoint that the rules name must exist
  // (see missing_endpoints).
  Result<std::unique_ptr<DetachedPolicy>> build(EndpointId endpoint,
                                                std::span<const RuleSpec> specs);
  // Names in the rules that are not known here.
  [[nodiscard]] std::vector<std::string> missing_endpoints(std::span<const RuleSpec> specs) const;
  // Removes implicit endpoints that nothing names any more; called after commits and by the timer.
  void collect_implicit();

  void set_guard(EndpointId endpoint, std::string reason);  // empty: none
  // Runs on the control thread once no worker can still act on what was published before now.
  void after_grace(std::function<void()> action) { reclaimer_.defer(std::move(action)); }

  // Called after each commit for each rule created or destroyed one by one (not for attach and
  // detach).
  void on_rule_change(std::function<void(const RuleChange&)> listener) {
    listener_ = std::move(listener);
  }
  // Called when an endpoint's id is about to be given to another one: whoever keeps ids (the FDB)
  // forgets it.
  void on_endpoint_gone(std::function<void(EndpointId)> listener) {
    gone_listener_ = std::move(listener);
  }

 private:
  friend class Transaction;
  friend class DetachedPolicy;
  struct Published;  // the parts of the state that is out now

  EndpointRecord* record(EndpointId id);
  // Compiles; names are resolved, the entry is staged (never visible) and in no table yet.
  Result<std::unique_ptr<RuleRecord>> make_record(EndpointId owner, RuleId id, const Rule& rule);
  Result<EndpointId> resolve(std::string_view name) const;
  [[nodiscard]] Result<RuleId> pick_id(EndpointRecord& owner, RuleId wanted);
  LiveTable& table_for(const RuleRecord& record);
  void name_endpoints(const RuleRecord& record, bool named);  // what keeps endpoints alive
  void link(RuleRecord& record);                              // into owner's rules, receive, inside
  void unlink(RuleRecord& record);
  std::unique_ptr<RuleRecord> take(const RuleRecord& record);
  void retire(std::unique_ptr<RuleRecord> record);
  void forget_counts(const RuleRecord& record);
  void publish(bool endpoints_changed, uint64_t generation);

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
