// SPDX-License-Identifier: Apache-2.0
//
// A journal in memory: for a switch without a state directory, for tests and for the simulator.
//
// A simulated host keeps its MemoryDisk. A crash destroys the Engine and the MemoryJournal. The
// restart makes both again from the same disk and calls Engine::recover().
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "migration/journal/journal.h"

namespace godwit::migration {

// The storage of a MemoryJournal, in place of a file. It outlives the journal, as a disk survives a
// crash.
struct MemoryDisk {
  // A rule and its number, which grows with each rule stored. policy() returns the rules by it.
  using NumberedRule = std::pair<uint64_t, StoredRule>;

  std::map<std::string, Epoch> epochs;
  std::vector<MoveRecord> moves;
  std::deque<SettledMove> settled;
  std::map<std::string, StoredEndpoint> endpoints;
  std::map<std::pair<std::string, uint32_t>, NumberedRule> rules;  // by owner and id
  uint64_t rules_made = 0;                                         // the number of the next rule
  std::vector<std::string> configured;  // JournalBatch::configured of the last batch that set it
  bool written = false;                 // true once any policy was stored
};

class MemoryJournal final : public Journal {
 public:
  // Uses a disk of its own. Nothing survives this journal, so it keeps no policy.
  MemoryJournal() : MemoryJournal(std::make_shared<MemoryDisk>()) { keeps_policy_ = false; }
  explicit MemoryJournal(std::shared_ptr<MemoryDisk> disk);
  Result<std::vector<MoveRecord>> moves() override { return disk_->moves; }
  Result<StoredPolicy> policy() override;
  [[nodiscard]] bool keeps_policy() const override { return keeps_policy_; }

  // If set, called before each batch is stored. An error refuses the batch, as a full disk would. A
  // test may also stop the host here, for a crash before the write.
  std::function<Result<void>(const JournalBatch& batch)> gatekeeper;

 private:
  Result<void> store(const JournalBatch& batch) override;
  void store_policy(const JournalBatch& batch);

  std::shared_ptr<MemoryDisk> disk_;
  bool keeps_policy_ = true;
};

}  // namespace godwit::migration
