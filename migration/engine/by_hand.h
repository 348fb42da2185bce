// SPDX-License-Identifier: Apache-2.0
//
// Migration by hand (`migration export|rewrite|import`): an operator carries the VM's policy
// document between hosts. Owns nothing. A VM that takes part in a move is refused, and a change is
// refused if the journal cannot store it.
//
// Thread safety: the control thread only.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "migration/engine/move_registry.h"
#include "migration/engine/reports.h"
#include "migration/moves/move_context.h"
#include "migration/policy/document.h"
#include "migration/policy/staged_import.h"

namespace godwit::migration {

class ByHand {
 public:
  ByHand(MoveContext& context, const MoveRegistry& moves) : context_(context), moves_(moves) {}

  // Returns the VM's policy as a document.
  [[nodiscard]] Result<Document> export_vm(const std::string& vm) const;
  // Takes the VM's policy out and points its receive rules to the uplink.
  Result<RewriteReport> rewrite_vm(const std::string& vm);
  // Puts the document's policy in force. `bindings` name the ports by endpoint. An error lists
  // every reason, one a line, and then nothing has changed.
  Result<ImportReport> import_vm(const Document& document,
                                 const std::map<std::string, ImportBinding>& bindings);

 private:
  [[nodiscard]] Result<StagedImport::Bindings> places_for(
      const Document& document, const std::map<std::string, ImportBinding>& bindings) const;
  // Undoes an import: the VM is behind the uplink again.
  void undo_import(const std::string& vm, const std::vector<OwnedRule>& arrived,
                   const StagedImport::Bindings& bindings);

  MoveContext& context_;
  const MoveRegistry& moves_;
};

}  // namespace godwit::migration
