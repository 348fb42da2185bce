// SPDX-License-Identifier: Apache-2.0
//
// A set of changes of the policy store that takes effect as a whole or not at all.
//
// Operations are checked and staged one by one. An operation that fails changes nothing, and what
// was staged before stays staged. commit() publishes everything with one store. A Transaction that
// is destroyed without a commit is rolled back.
//
// Operations see the effect of earlier operations of the same transaction. The exception is the
// rules that attach() and detach() move: their records are updated after the publication, so that
// publishing takes as long for 100,000 rules as for 10.
//
// Invariant: only one Transaction of a store is open at a time.
//
// Thread safety: the control thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "dataplane/policy/detached_policy.h"
#include "dataplane/policy/records.h"

namespace godwit::dataplane {

class PolicyStore;

struct CommitInfo {
  uint64_t generation = 0;
  std::vector<RuleId> created;             // in the order of the create_rule() calls
  std::vector<const RuleRecord*> arrived;  // outside rules of attached policies
};

class Transaction {
 public:
  explicit Transaction(PolicyStore& store);
  // Rolls back unless the transaction was committed.
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // Adds an endpoint. An implicit endpoint of the same name becomes explicit.
  Result<EndpointId> add_endpoint(const Profile& profile, const Location& location,
                                  bool implicit = false);
  // Fails while rules name the endpoint or while it owns rules.
  Result<void> remove_endpoint(EndpointId endpoint);
  // Replaces the profile. Its name and kind must stay.
  Result<void> set_profile(EndpointId endpoint, const Profile& profile);
  Result<void> set_location(EndpointId endpoint, const Location& location);
  // Binds the endpoint to a port of this switch. An invalid PortId unbinds it.
  Result<void> bind_port(EndpointId endpoint, PortId port);
  Result<void> set_active(EndpointId endpoint, bool active);

  // Adds a rule. A rule from the configuration or an import keeps its `id`; otherwise the next free
  // id is used.
  Result<RuleId> create_rule(EndpointId owner, const Rule& rule, RuleId id = RuleId{});
  Result<void> destroy_rule(EndpointId owner, RuleId id);
  // Removes every rule in the endpoint's tables (its transmit rules and its egress rules) by moving
  // one pointer.
  Result<void> detach(EndpointId endpoint);
  // Makes the policy's tables the endpoint's by moving one pointer. Fails if the endpoint has
  // rules.
  Result<void> attach(std::unique_ptr<DetachedPolicy> policy);

  // Publishes all changes. Cannot fail: whatever could be refused was refused by its operation.
  CommitInfo commit();
  // The two halves of commit(), for a caller with urgent work once the changes are in force.
  // publish() is one store; finish() updates the records. Between the two, endpoints, locations and
  // ports of the store may be read, but rules may not.
  void publish();
  CommitInfo finish();

  // Ignores EndpointRecord::guarded_by. Used for a migration's own changes.
  void override_guards() { override_guards_ = true; }

 private:
  friend class PolicyStore;
  struct Pending;
  Result<EndpointId> make_endpoint(const Profile& profile, bool implicit);
  void roll_back_to(size_t mark);
  // Returns the endpoint whose guard forbids changing the rule, or nullptr.
  [[nodiscard]] const EndpointRecord* guarding(const RuleRecord& record) const;
  void enter_attached(CommitInfo& info);
  void forget_detached();
  void notify(const CommitInfo& info) const;

  PolicyStore& store_;
  std::unique_ptr<Pending> pending_;
  bool override_guards_ = false;
};

}  // namespace godwit::dataplane
