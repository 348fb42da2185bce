// SPDX-License-Identifier: Apache-2.0
//
// The journal: what a switch must still know when it is killed and started again. Epochs of VMs,
// the moves that go on and those that have ended, and the policy (endpoints and rules).
//
// One write() is one batch: all of it or nothing, on the disk when it returns. A step of a move is
// written before it is acted upon, where acting on it and forgetting it would leave two owners or
// none:
//   source       prepared     from here on a handover may be under way: recovered as "in doubt"
//   source       claimed      with the epoch that it minted
//   destination  prepared     with the whole document: can be staged again. Changes of it follow
//   one by one destination  active       before the source is told both         settled      how it
//   ended, for peers that ask late, and with it the VM's policy as it is now
// What happens within a VM's blackout (park, handover, publish) is not written by itself: each of
// the two records before it allows for both outcomes, and asking the peer tells which it was.
//
// A seam, as Network is: SqliteJournal is a file, MemoryJournal a MemoryDisk, which outlives it as
// a disk does a crash. For a simulated host: keep the MemoryDisk; on a crash destroy Engine and
// journal, on a restart make both again from it and call Engine::recover().
// MemoryJournal::gatekeeper sees each batch before it is stored: refuse it (a full disk), or note
// it and stop the host there (a crash before or after the write). What write_or_keep() could not
// write yet is lost.
//
// Thread safety: the control thread only. A journal outlives the Engine that uses it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "migration/policy/document.h"

namespace godwit::migration {

inline constexpr size_t kMaxSettled = 1024;  // ended moves that are remembered

enum class MoveRole : uint8_t { kInvalid = 0, kSource, kDestination };
[[nodiscard]] std::string_view name_of(MoveRole role);

// A move that goes on.
struct MoveRecord {
  std::string id, vm, peer;
  MoveRole role = MoveRole::kInvalid;
  std::string state;  // the machine's, by name_of()
  Epoch offered;      // the VM's when it was offered
  Epoch handed;       // the VM's once the peer has it
  uint64_t nonce = 0;
  std::shared_ptr<const Document>
      document;  // destination: what is staged. In a batch, null: as it was
};

// A rule change of a document that is staged, as the source told it.
struct MoveDelta {
  std::string id;  // of the move, at its destination
  bool created = false;
  DocumentRule rule;    // destroyed: owner and id say which
  bool uplink = false;  // of the uplink rules
};

// A move that has ended, in either way.
struct SettledMove {
  std::string id, vm, peer;
  MoveRole role = MoveRole::kInvalid;
  bool done = false;  // the policy is at the destination
  Epoch epoch;        // of the VM then
  std::string why;    // it was aborted
};

struct StoredEndpoint {
  dataplane::Profile profile;
  std::string socket;  // its vhost port's; empty: it is not local
  bool server = false;
  std::string devargs;  // an uplink's that was attached by command
  std::string uplink;   // not local: the uplink that leads to it; empty: none
  bool implicit = false;
  bool elsewhere = false;  // it has a port, but was put elsewhere by command
};

struct StoredRule {
  std::string owner;
  uint32_t id = 0;
  std::string inside;  // the endpoint whose table it is in; empty: the shared one
  std::string text;    // testpmd
};

struct JournalBatch {
  std::vector<std::pair<std::string, Epoch>> epochs;
  std::vector<MoveRecord> moves;
  std::vector<MoveDelta> deltas;
  std::vector<SettledMove> settled;  // these are no longer among the moves
  // Policy, in this order.
  bool forget_policy = false;                               // all of it: what follows is the whole
  std::vector<std::string> emptied;                         // endpoints whose tables' rules all go
  std::vector<std::pair<std::string, uint32_t>> destroyed;  // owner, id
  std::vector<std::string> gone;                            // endpoints
  std::vector<StoredEndpoint> endpoints;                    // entered or changed
  std::vector<StoredRule> created;
  // The configuration's part, as it was last applied (control/ gives it a meaning).
  bool replace_configured = false;
  std::vector<std::string> configured;
  [[nodiscard]] bool empty() const;
};

struct StoredPolicy {
  std::vector<StoredEndpoint> endpoints;  // by name
  std::vector<StoredRule> rules;          // in the order they were made
  std::vector<std::string> configured;
  bool written = false;  // a policy was stored here before
};

class Journal {
 public:
  virtual ~Journal() = default;
  // All or nothing, and durable; what could not be written before goes first. An error says why,
  // and nothing has changed.
  Result<void> write(const JournalBatch& batch);
  // For what is a fact already: known at once, and written now or, when the disk refuses it, by a
  // later write or flush(). An error says why it has to wait.
  Result<void> write_or_keep(JournalBatch batch);
  Result<void> flush();
  // Sees each batch before and after it is stored.
  using Watcher = std::function<void(const JournalBatch& batch, bool stored)>;
  void watch(Watcher watcher) { watcher_ = std::move(watcher); }
  [[nodiscard]] bool waiting() const { return !kept_.empty(); }

  // As the disk has it. Documents with their deltas applied; moves in the order they were first
  // written.
  virtual Result<std::vector<MoveRecord>> moves() = 0;
  virtual Result<StoredPolicy> policy() = 0;
  // False: policy need not be put into batches, it is not kept.
  [[nodiscard]] virtual bool keeps_policy() const { return true; }

  // What was written, in memory.
  [[nodiscard]] const std::map<std::string, Epoch>& epochs() const { return epochs_; }
  [[nodiscard]] const SettledMove* settled(const std::string& id, MoveRole role) const;

 protected:
  // A host can be both ends of a move in tests; ids alone would clash.
  [[nodiscard]] static std::string key(const std::string& id, MoveRole role);
  virtual Result<void> store(const JournalBatch& batch) = 0;
  void remember(const JournalBatch& batch);

  std::map<std::string, Epoch> epochs_;
  std::map<std::string, SettledMove> settled_;  // by key()
  std::deque<std::string> settled_order_;       // keys, oldest first

 private:
  Result<void> store_watched(const JournalBatch& batch);
  std::deque<JournalBatch> kept_;
  Watcher watcher_;
};

// The document with a change. Errors: it does not have the rule, or has it already, or has no room
// for it.
Result<void> apply(const MoveDelta& delta, Document& document);

// What a MemoryJournal keeps where a file would.
struct MemoryDisk {
  std::map<std::string, Epoch> epochs;
  std::vector<MoveRecord> moves;
  std::deque<SettledMove> settled;
  std::map<std::string, StoredEndpoint> endpoints;
  std::map<std::pair<std::string, uint32_t>, std::pair<uint64_t, StoredRule>>
      rules;  // by owner and id; when it was made
  uint64_t rules_made = 0;
  std::vector<std::string> configured;
  bool written = false;
};

// For switches without a state directory, for tests and the simulator.
class MemoryJournal final : public Journal {
 public:
  // Nothing outlives it, so it keeps no policy.
  MemoryJournal() : MemoryJournal(std::make_shared<MemoryDisk>()) { keeps_policy_ = false; }
  explicit MemoryJournal(std::shared_ptr<MemoryDisk> disk);
  Result<std::vector<MoveRecord>> moves() override { return disk_->moves; }
  Result<StoredPolicy> policy() override;
  [[nodiscard]] bool keeps_policy() const override { return keeps_policy_; }

  // Asked before a batch is stored; an error refuses it (a full disk). Null: never.
  std::function<Result<void>(const JournalBatch& batch)> gatekeeper;

 private:
  Result<void> store(const JournalBatch& batch) override;
  void store_policy(const JournalBatch& batch);

  std::shared_ptr<MemoryDisk> disk_;
  bool keeps_policy_ = true;
};

}  // namespace godwit::migration
