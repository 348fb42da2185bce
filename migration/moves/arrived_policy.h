// SPDX-License-Identifier: Apache-2.0
//
// The policy of a VM at the destination of its move: staged beside what is in force, published when
// the VM runs here, withdrawn if another host has the VM by a newer epoch.
//
// Invariants: publish() is one transaction, and enter() follows in the same turn of the control
// thread. The endpoints pair redirected and direct copies of a frame by a window number, which no
// other move on this host uses at the time.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/journal/journal.h"
#include "migration/moves/move_context.h"
#include "migration/policy/document.h"
#include "migration/policy/staged_import.h"
#include "migration/policy/withdraw.h"

namespace godwit::migration {

class ArrivedPolicy {
 public:
  ArrivedPolicy(MoveContext& context, std::string vm, std::string move);

  // Sets the policy as it was offered, with the changes since.
  void set_document(Document document) { document_ = std::move(document); }
  [[nodiscard]] const Document& document() const { return document_; }

  // Checks the document and builds its ports and tables aside. On failure nothing has changed.
  Result<void> stage();
  // Takes up a policy that was published before a restart and is in the store again.
  Result<void> resume();
  // Removes what is staged; everything is as before the offer.
  void discard() { staged_.reset(); }
  [[nodiscard]] bool staged() const { return staged_ != nullptr; }
  // Applies a rule change of the source to what is staged and to the document.
  Result<void> apply(const MoveDelta& delta);
  // Returns the rule changes that lead from the policy to another offer of the same move, or an
  // error if more than rules has changed.
  [[nodiscard]] Result<std::vector<MoveDelta>> changes_to(const Document& document) const;
  // Return the digests of what is staged, which must exist.
  [[nodiscard]] std::string digest() const { return staged_->digest(); }
  [[nodiscard]] std::string uplinks_digest() const { return staged_->uplinks_digest(); }

  // Puts the policy in force. Frames that come directly are parked. Returns an error if
  // the transaction fails.
  Result<void> publish();
  // Makes the records of what was published.
  const StagedImport::Report& enter();
  [[nodiscard]] bool published() const { return published_; }
  // Returns the uplink rules that came with the VM. They are known after enter().
  [[nodiscard]] const std::vector<OwnedRule>& arrived() const { return report_.arrived; }
  // Lets direct arrivals through to the VM's ports. With `paired`, the second copy of a flooded
  // frame is dropped. With `fenced`, frames that the fabric brings to the VM alone wait.
  void let_through(bool paired, bool fenced);
  // Withdraws what was published: the VM is behind the uplink again. Returns the uplink rules that
  // went. Rules to the VM that this host had before the move stay, unless a restart has lost which
  // they were.
  std::vector<OwnedRule> withdraw();

  // Returns whether the port is one of the VM's.
  [[nodiscard]] bool owns(PortId port) const { return staged_ != nullptr && staged_->owns(port); }
  // Returns whether a front-end is connected to one of the VM's ports.
  [[nodiscard]] bool connected() const;
  // Returns whether rings of the VM run here.
  [[nodiscard]] bool rings_run() const;
  // Returns when the first packet was delivered to the VM, or zero before that.
  [[nodiscard]] uint64_t first_delivery_ns() const;

 private:
  [[nodiscard]] bool any_port(bool dataplane::PortInfo::*is) const;

  MoveContext& context_;
  const std::string vm_, move_;
  Document document_;
  std::unique_ptr<StagedImport> staged_;
  StagedImport::Report report_;
  uint16_t window_ = 0;
  bool published_ = false;
};

}  // namespace godwit::migration
