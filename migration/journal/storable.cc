// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/storable.h"

#include <algorithm>
#include <string>

#include "base/text.h"
#include "dataplane/rules/vocabulary.h"
#include "migration/link/codec.h"

namespace godwit::migration {

namespace {

constexpr size_t kMaxState = 64;  // bytes of MoveRecord::state

// The parts that moves in progress and ended moves have in common.
Result<void> check_move(const std::string& id, const std::string& vm, const std::string& peer,
                        MoveRole role) {
  if (role != MoveRole::kSource && role != MoveRole::kDestination) return fail("a move of no role");
  if (id.size() > kMaxMoveIdBytes)
    return fail("a move id of " + std::to_string(id.size()) + " bytes");
  if (vm.size() > kMaxNameBytes)
    return fail("a VM's name of " + std::to_string(vm.size()) + " bytes");
  return is_host_name(peer) ? Result<void>{}
                            : fail("peer " + printable(peer) + " is no host's name");
}

template <typename Records>
Result<void> check_all(const Records& records) {
  for (const auto& record : records) {
    if (auto good = storable(record); !good) return good;
  }
  return {};
}

}  // namespace

Result<void> storable(const Epoch& epoch) {
  if (epoch.counter > kMaxEpochCounter)
    return fail("epoch " + std::to_string(epoch.counter) + " is over the limit");
  return is_host_name(epoch.host) ? Result<void>{}
                                  : fail("epoch of " + printable(epoch.host) + ", no host's name");
}

Result<void> storable(const MoveRecord& move) {
  auto good = check_move(move.id, move.vm, move.peer, move.role);
  if (good) good = storable(move.offered);
  if (good) good = storable(move.handed);
  if (good && !dataplane::check_endpoint_name(move.vm))
    return fail(printable(move.vm) + " is no VM's name");
  if (good && move.state.size() > kMaxState) return fail("a state of a move that is too long");
  if (!good || move.document == nullptr) return good;
  if (move.document->rules.size() > kMaxDocumentRules ||
      move.document->uplink_rules.size() > kMaxDocumentRules)
    return fail("a document of too many rules");
  if (move.document->epoch.counter > kMaxOfferedCounter)
    return fail("a document of epoch " + to_string(move.document->epoch) + ", over the limit");
  good = check_all(move.document->rules);
  return good ? check_all(move.document->uplink_rules) : good;
}

Result<void> storable(const SettledMove& move) {
  if (move.why.size() > kMaxWhyBytes) return fail("a reason that is too long");
  auto good = check_move(move.id, move.vm, move.peer, move.role);
  return good ? storable(move.epoch) : good;
}

Result<void> storable(const DocumentRule& rule) {
  if (rule.owner.size() > dataplane::kMaxEndpointName) return fail("a rule's owner is too long");
  return rule.text.size() <= dataplane::kMaxRuleText ? Result<void>{} : fail("a rule is too long");
}

Result<void> storable(const StoredRule& rule) {
  if (rule.owner.size() > dataplane::kMaxEndpointName ||
      rule.inside.size() > dataplane::kMaxEndpointName)
    return fail("an endpoint's name of a rule is too long");
  return rule.text.size() <= dataplane::kMaxRuleText ? Result<void>{} : fail("a rule is too long");
}

Result<void> storable(const JournalBatch& batch) {
  for (const auto& [vm, epoch] : batch.epochs) {
    if (auto good = storable(epoch); !good) return good;
  }
  for (const MoveDelta& delta : batch.deltas) {
    if (auto good = storable(delta.rule); !good) return good;
  }
  auto good = check_all(batch.moves);
  if (good) good = check_all(batch.settled);
  return good ? check_all(batch.created) : good;
}

void cut_texts(SettledMove& move) {
  if (move.why.size() > kMaxWhyBytes) move.why.replace(kMaxWhyBytes - 3, std::string::npos, "...");
}

}  // namespace godwit::migration
