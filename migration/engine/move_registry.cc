// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/move_registry.h"

#include <algorithm>
#include <utility>

namespace godwit::migration {

void MoveRegistry::recover(const MoveRecord& record) {
  MoveStatus status;
  status.vm = record.vm;
  status.peer = record.peer;
  status.id = record.id;
  if (record.role == MoveRole::kSource && !SourceMove::may_be_handed_over(record)) {
    // It was not prepared, so nothing can have been handed over. The peer may ask how it ended.
    const std::string why = "the switch was restarted before the move was prepared";
    context_.settle({record.id, record.vm, record.peer, record.role, false,
                     context_.newest_epoch(record.vm), why},
                    false);
    return give_up(std::move(status), why);
  }
  Result<void> recovered;
  if (record.role == MoveRole::kSource) {
    auto move = std::make_shared<SourceMove>(context_, status, context_.address_of(record.peer));
    recovered = move->recover(record);
    if (recovered) outgoing_.push_back(move);
  } else {
    auto move = std::make_shared<DestinationMove>(context_, record.vm, record.peer, record.id);
    recovered = move->recover(record);
    if (recovered) incoming_.push_back(move);
  }
  if (recovered) {
    return context_.log("move " + record.id + " of " + record.vm + ": recovered as " +
                        std::string(name_of(record.role)) + ", peer " + record.peer +
                        ", last stored as " + record.state);
  }
  status.role = std::string(name_of(record.role));
  status.state = record.state;
  status.doubt = "the journal has it in state " + record.state +
                 ", but it cannot be recovered: " + recovered.error().message;
  note_step(status, context_.clock.now_ns(), status.state, {}, status.doubt);
  context_.log("move " + record.id + " of " + record.vm + ": " + status.doubt);
  stuck_.push_back({std::move(status), record.role});
}

std::shared_ptr<DestinationMove> MoveRegistry::find_incoming(const std::string& vm,
                                                             const std::string& id,
                                                             const std::string& peer) const {
  for (const auto& move : incoming_) {
    if (move->vm() == vm && move->id() == id && move->peer() == peer) return move;
  }
  return nullptr;
}

bool MoveRegistry::undecided(const std::string& vm) const {
  return queue_.contains(vm) ||
         std::ranges::any_of(stuck_, [&](const Stuck& s) { return s.status.vm == vm; }) ||
         std::ranges::any_of(outgoing_,
                             [&](const auto& m) { return m->vm() == vm && !m->settled(); }) ||
         std::ranges::any_of(incoming_, [&](const auto& m) { return m->vm() == vm && !m->over(); });
}

bool MoveRegistry::returning(std::string_view vm) const {
  return std::ranges::any_of(
      outgoing_, [&](const auto& m) { return m->vm() == vm && m->settled() && !m->over(); });
}

size_t MoveRegistry::preparing() const {
  return static_cast<size_t>(
      std::ranges::count_if(outgoing_, [](const auto& move) { return move->preparing(); }));
}

bool MoveRegistry::known(const std::string& id) const {
  const auto all = statuses();
  return std::ranges::any_of(all, [&](const MoveStatus& status) { return status.id == id; });
}

std::vector<MoveStatus> MoveRegistry::statuses() const {
  std::vector<MoveStatus> all(finished_.begin(), finished_.end());
  for (const auto& move : outgoing_) all.push_back(move->status());
  for (const MoveQueue::Entry& move : queue_.entries()) all.push_back(move.status);
  for (const Stuck& move : stuck_) all.push_back(move.status);
  for (const auto& pull : pulls_) {
    if (!pull->over()) all.push_back(pull->status());
  }
  for (const auto& move : incoming_) all.push_back(move->status());
  return all;
}

std::vector<EvacuationStatus> MoveRegistry::evacuations() const {
  std::vector<EvacuationStatus> all(evacuations_.all().begin(), evacuations_.all().end());
  for (EvacuationStatus& evacuation : all) {
    evacuation.queued = queue_.count_of_evacuation(evacuation.id);
    for (const auto& move : outgoing_) {
      const MoveStatus status = move->status();
      if (status.evacuation != evacuation.id) continue;
      ++(move->preparing()            ? evacuation.preparing
         : status.state == "prepared" ? evacuation.prepared
                                      : evacuation.moving);
    }
  }
  return all;
}

bool MoveRegistry::cancel_unstarted(const std::string& vm) {
  if (auto queued = queue_.remove(vm)) {
    give_up(std::move(queued->status), "cancelled");
    return true;
  }
  if (const auto at = std::ranges::find(stuck_, vm, [](const Stuck& s) { return s.status.vm; });
      at != stuck_.end()) {
    Stuck gone = std::move(*at);
    stuck_.erase(at);
    const MoveStatus& status = gone.status;
    context_.settle(
        {status.id, vm, status.peer, gone.role, false, context_.newest_epoch(vm), "cancelled"},
        false);
    give_up(std::move(gone.status), "cancelled");
    return true;
  }
  return false;
}

Result<void> MoveRegistry::cancel(const std::string& vm) {
  Result<void> result =
      fail(Error{"no move of this VM is in progress", 0, 0, vm, "a VM of `migrate status`"});
  for (const auto& move : outgoing_) {
    if (move->vm() == vm && !move->over()) result = move->cancel();
  }
  for (const auto& move : incoming_) {
    if (move->vm() == vm && !move->over()) result = move->cancel();
  }
  for (const auto& pull : pulls_) {
    if (pull->status().vm != vm || pull->over()) continue;
    pull->cancel();
    result = {};
  }
  return result;
}

void MoveRegistry::give_up(MoveStatus status, const std::string& why) {
  context_.log("move " + status.id + " of " + status.vm + " to " + status.peer + ": " +
               status.state + " -> aborted (" + why + ")");
  status.state = "aborted";
  status.error = why;
  note_step(status, context_.clock.now_ns(), status.state, {}, why);
  remember(std::move(status));
}

void MoveRegistry::remember(MoveStatus status) {
  evacuations_.count(status);
  finished_.push_back(std::move(status));
  if (finished_.size() > kMaxFinished) finished_.pop_front();
}

void MoveRegistry::retire() {
  const auto remember_if_over = [&](const auto& move) {
    if (move->over()) remember(move->status());
    return move->over();
  };
  std::erase_if(outgoing_, remember_if_over);
  std::erase_if(incoming_, remember_if_over);
  std::erase_if(pulls_, [&](const auto& pull) {
    if (pull->failed()) remember(pull->status());
    return pull->over();
  });
}

void MoveRegistry::stop() {
  for (const auto& move : outgoing_) move->stop();
  for (const auto& move : incoming_) move->stop();
  for (const auto& pull : pulls_) pull->stop();
}

void MoveRegistry::clear() {
  pulls_.clear();
  outgoing_.clear();
  incoming_.clear();
}

}  // namespace godwit::migration
