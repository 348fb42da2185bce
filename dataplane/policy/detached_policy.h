// SPDX-License-Identifier: Apache-2.0
//
// A policy built aside for one endpoint: tables full of rules, none of them in force.
//
// A moving VM's rules travel as a DetachedPolicy. The destination of a move builds it while the VM
// still runs elsewhere, applies the source's later changes to it, and attaches it with
// Transaction::attach(), which moves one pointer however many rules there are. A DetachedPolicy
// that is destroyed instead leaves nothing behind.
//
// Rules outside: a policy may also carry rules that live in another endpoint's table, such as an
// uplink's. Those are inserted there at once, with a visibility of "never". Attaching makes each
// visible with one store.
//
// Invariants: endpoints that the rules name exist as long as the policy does. The store outlives
// the policy.
//
// Thread safety: the control thread only.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "dataplane/policy/records.h"

namespace godwit::dataplane {

class PolicyStore;

class DetachedPolicy {
 public:
  ~DetachedPolicy();
  DetachedPolicy(const DetachedPolicy&) = delete;
  DetachedPolicy& operator=(const DetachedPolicy&) = delete;
  [[nodiscard]] EndpointId endpoint() const { return endpoint_; }
  // Returns the number of rules in the endpoint's own tables.
  [[nodiscard]] size_t rules() const { return records_.size(); }

  // Each of these leaves the policy unchanged if it fails.
  // Adds a rule to the endpoint's own tables.
  Result<void> add(const RuleSpec& spec);
  Result<void> remove(std::string_view owner, RuleId id);
  // Adds a rule to another endpoint's table or to the shared one, invisible until the policy is
  // attached. Its id is kept if the endpoint owns the rule.
  Result<void> add_outside(const RuleSpec& spec);
  // Removes the oldest outside rule that equals `rule`.
  Result<void> remove_outside(std::string_view owner, const Rule& rule);

 private:
  friend class PolicyStore;
  friend class Transaction;
  DetachedPolicy(PolicyStore& store, EndpointId endpoint) : store_(store), endpoint_(endpoint) {}
  // Makes a record for one of the endpoint's tables without inserting it.
  Result<std::unique_ptr<RuleRecord>> make(const RuleSpec& spec);
  // Takes a record that is in its table, or is about to be inserted.
  void keep(std::unique_ptr<RuleRecord> record);
  void drop_outside(std::unique_ptr<RuleRecord> record);

  PolicyStore& store_;
  EndpointId endpoint_;
  EndpointTables tables_;
  std::vector<std::unique_ptr<RuleRecord>> records_;
  std::vector<std::unique_ptr<RuleRecord>> outside_;
};

}  // namespace godwit::dataplane
