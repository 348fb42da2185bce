// SPDX-License-Identifier: Apache-2.0
//
// The types that a journal stores: epochs, moves, and the policy of the switch. A JournalBatch is
// one write; MoveRecord, SettledMove and StoredPolicy are also what a journal returns after a
// restart.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "migration/policy/document.h"

namespace godwit::migration {

enum class MoveRole : uint8_t { kInvalid = 0, kSource, kDestination };
[[nodiscard]] std::string_view name_of(MoveRole role);

// A move in progress.
struct MoveRecord {
  std::string id, vm, peer;
  MoveRole role = MoveRole::kInvalid;
  std::string state;  // name_of() of the machine's state
  Epoch offered;      // the VM's epoch in the offer
  Epoch handed;       // the VM's epoch once the peer owns it
  uint64_t nonce = 0;
  // At the destination, the policy that is staged. Null in a batch leaves the stored one unchanged.
  std::shared_ptr<const Document> document;
};

// A rule change that a source sent after its offer. The destination applies it to the staged
// document.
struct MoveDelta {
  std::string id;        // of the move
  bool created = false;  // false if the rule was destroyed
  DocumentRule rule;     // a destroyed rule has only its owner and id
  bool uplink = false;   // one of the document's uplink_rules
};

// A move that has ended.
struct SettledMove {
  std::string id, vm, peer;
  MoveRole role = MoveRole::kInvalid;
  bool done = false;  // true if the destination owns the policy; false if the move was aborted
  Epoch epoch;        // the VM's when the move ended
  std::string why;    // the reason of an aborted move
};

struct StoredEndpoint {
  dataplane::Profile profile;
  std::string socket;  // path of its vhost port's socket; empty if it is not local
  bool server = false;
  std::string devargs;  // of an uplink that a command attached
  std::string uplink;   // the uplink that leads to it; empty if it is local or nowhere
  bool implicit = false;
  bool elsewhere = false;  // it has a port, but a command gave it another location
};

struct StoredRule {
  std::string owner;
  uint32_t id = 0;
  std::string inside;  // the endpoint whose table has the rule; empty for the shared table
  std::string text;    // in testpmd's syntax
};

// One write. The policy changes apply in the order of the members.
struct JournalBatch {
  std::vector<std::pair<std::string, Epoch>> epochs;  // by VM
  std::vector<MoveRecord> moves;
  std::vector<MoveDelta> deltas;
  std::vector<SettledMove> settled;                         // these leave the moves in progress
  bool forget_policy = false;                               // removes all policy first
  std::vector<std::string> emptied;                         // endpoints whose tables lose all rules
  std::vector<std::pair<std::string, uint32_t>> destroyed;  // rules, by owner and id
  std::vector<std::string> gone;                            // endpoints
  std::vector<StoredEndpoint> endpoints;                    // new or changed
  std::vector<StoredRule> created;
  // Lines of the configuration that was applied last. control/ gives them a meaning.
  bool replace_configured = false;
  std::vector<std::string> configured;
  [[nodiscard]] bool empty() const;
};

// A damaged record that was set aside, so that the rest can be used.
struct SetAside {
  std::string table;     // of the state file
  std::string endpoint;  // whose policy is incomplete without it: its port stays closed
  std::string what;      // the record, with its VM, for people
};

struct StoredPolicy {
  std::vector<StoredEndpoint> endpoints;  // by name
  std::vector<StoredRule> rules;          // in the order of their creation
  std::vector<std::string> configured;
  bool written = false;  // false if no policy was ever stored
  // Endpoints of which a record was set aside. Their policy has a hole, so their ports stay closed.
  std::set<std::string> incomplete;
};

// Applies a change to the document. Returns an error if the rule to destroy is missing, the rule to
// create exists, or the document is full.
Result<void> apply(const MoveDelta& delta, Document& document);
// Returns the rule changes that lead from one document of a move to another: first the destroyed
// rules, then the created ones.
[[nodiscard]] std::vector<MoveDelta> changes_between(const Document& before, const Document& after,
                                                     const std::string& move);

}  // namespace godwit::migration
