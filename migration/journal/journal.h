// SPDX-License-Identifier: Apache-2.0
//
// The journal stores what a switch must know after it is killed: the epochs of VMs, the moves in
// progress and those that ended, and the policy. SqliteJournal keeps it in a file and MemoryJournal
// in memory.
//
// One write() is one batch: it is stored as a whole or not at all, and it is durable on return. A
// move writes a step before it acts on it, where a crash in between would leave two owners or none:
//
//   role         state     why it is written first
//   source       prepared  a handover may follow; a restart recovers the move as in doubt
//   source       claimed   has the epoch that the source took
//   destination  prepared  has the document, so that it can be staged again; deltas follow singly
//   destination  active    is written before the source learns of it
//   both         settled   how the move ended, for peers that ask late, with the VM's policy
//
// The steps within a VM's blackout (park, handover, publish) are not written. The two records
// before them allow for both outcomes, and the peer's answer decides which one it was.
//
// Thread safety: the control thread only. A journal outlives the Engine that uses it.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/journal/records.h"

namespace godwit::migration {

inline constexpr size_t kMaxSettled = 1024;  // ended moves that a journal remembers

class Journal {
 public:
  virtual ~Journal() = default;
  // Stores the batch durably, after all batches that wait. Reasons of ended moves are cut to
  // kMaxWhyBytes. Returns an error, and changes nothing, if the disk refuses or if the batch has
  // what a journal does not store (storable.h).
  Result<void> write(const JournalBatch& batch);
  // Stores a batch that describes a fact. It is known in memory at once. If the disk refuses, the
  // batch waits for a later write or flush(), and the error says why. A crash loses waiting
  // batches.
  Result<void> write_or_keep(JournalBatch batch);
  // Stores the batches that wait, oldest first. Returns an error if the disk refuses one, which
  // then keeps waiting, as do those after it.
  Result<void> flush();
  // Returns whether batches wait.
  [[nodiscard]] bool waiting() const { return !kept_.empty(); }
  // Watches the writes. The watcher is called before each batch is stored, and again with `stored`
  // set once it is.
  using Watcher = std::function<void(const JournalBatch& batch, bool stored)>;
  void watch(Watcher watcher) { watcher_ = std::move(watcher); }

  // Reads the stored moves in progress, in the order of their first write. Their documents have all
  // deltas applied.
  virtual Result<std::vector<MoveRecord>> moves() = 0;
  virtual Result<StoredPolicy> policy() = 0;
  // Returns the damaged records that were set aside, at this start or an earlier one.
  [[nodiscard]] const std::vector<SetAside>& set_aside() const { return set_aside_; }
  // Forgets the records that were set aside. Their endpoints' ports open at the next start.
  virtual Result<void> forget_set_aside() { return {}; }
  // Returns false if this journal ignores the policy in batches.
  [[nodiscard]] virtual bool keeps_policy() const { return true; }

  // Returns the newest epoch of each VM from memory, including those of batches that wait.
  [[nodiscard]] const std::map<std::string, Epoch>& epochs() const { return epochs_; }
  // Returns how the move ended, from memory, or nullptr if it is not among the last kMaxSettled.
  [[nodiscard]] const SettledMove* settled(const std::string& id, MoveRole role) const;

 protected:
  virtual Result<void> store(const JournalBatch& batch) = 0;
  // Enters the epochs and ended moves of a batch into memory.
  void remember(const JournalBatch& batch);

  std::vector<SetAside> set_aside_;

 private:
  // Returns the key of settled_. The role is part of it, because in tests one host may be both ends
  // of a move.
  [[nodiscard]] static std::string key(const std::string& id, MoveRole role);
  Result<void> store_watched(const JournalBatch& batch);

  std::map<std::string, Epoch> epochs_;         // by VM
  std::map<std::string, SettledMove> settled_;  // by key()
  std::deque<std::string> settled_order_;       // keys, oldest first
  std::deque<JournalBatch> kept_;               // batches that wait, oldest first
  Watcher watcher_;
};

}  // namespace godwit::migration
