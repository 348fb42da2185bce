// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/mutants.h"

#include <algorithm>
#include <array>
#include <map>

namespace godwit::sim {

namespace {

using migration::DestinationTransition;
using migration::JournalBatch;
using migration::SourceTransition;
using SS = migration::SourceState;
using SE = migration::SourceEvent;
using SA = migration::SourceAction;
using DS = migration::DestinationState;
using DE = migration::DestinationEvent;
using DA = migration::DestinationAction;

template <typename Transition>
std::vector<Transition> copy_of(std::span<const Transition> table) {
  return {table.begin(), table.end()};
}
std::vector<SourceTransition> source() { return copy_of(migration::source_transitions()); }
std::vector<DestinationTransition> destination() {
  return copy_of(migration::destination_transitions());
}

template <typename Actions, typename Action>
void leave_out(Actions& actions, Action action) {
  const auto end = std::remove(actions.begin(), actions.end(), action);
  std::fill(end, actions.end(), Action::kNone);
}

// Returns the table without this action.
template <typename Transition, typename Action>
std::vector<Transition> without(std::vector<Transition> table, Action action) {
  for (Transition& transition : table) leave_out(transition.actions, action);
  return table;
}

template <typename Transition, typename State, typename Event>
Transition& row(std::vector<Transition>& table, State from, Event event) {
  return *std::ranges::find_if(
      table, [&](const Transition& t) { return t.from == from && t.event == event; });
}

template <typename Transition>
std::vector<Transition> with_row(std::vector<Transition> table, const Transition& instead) {
  row(table, instead.from, instead.event) = instead;
  return table;
}

// Returns the table without this action in the rows that lead to `to`.
template <typename Transition, typename State, typename Action>
std::vector<Transition> without_on_the_way_to(std::vector<Transition> table, State to,
                                              Action action) {
  for (Transition& transition : table) {
    if (transition.to == to) leave_out(transition.actions, action);
  }
  return table;
}

void no_moves_in(JournalBatch& batch, migration::MoveRole role, std::string_view state) {
  std::erase_if(batch.moves, [&](const migration::MoveRecord& move) {
    return move.role == role && move.state == state;
  });
}

Mutant mutant(std::string name, std::string what) {
  Mutant out;
  out.name = std::move(name);
  out.what = std::move(what);
  return out;
}

void add_to_source(std::vector<Mutant>& all) {
  const auto add = [&](const char* name, const char* what, std::vector<SourceTransition> table) {
    all.push_back(mutant(name, what));
    all.back().source = std::move(table);
  };
  add("prepared-not-journaled", "the source does not write that a move is prepared",
      without(source(), SA::kRecord));
  add("thaw-missing", "a move that ends without a handover leaves the VM parked",
      without(source(), SA::kThaw));
  add("redirect-not-stopped", "the window is never closed at the source",
      without(source(), SA::kCloseWindow));
  add("rules-not-guarded", "rules may still be changed at the source after the handover",
      without(source(), SA::kGuardRules));
  add("claim-without-epoch", "the source takes the VM back without a newer epoch",
      without(source(), SA::kMintEpoch));
  add("no-freeze", "the handover is sent and the source goes on as before",
      with_row(
          source(),
          {SS::kPrepared, SE::kStopped, SS::kHandedOver, {SA::kGuardRules, SA::kSendHandover}}));
  add("rules-not-taken-out", "the source keeps the VM's rules when the destination is active",
      without(source(), SA::kRewriteOut));
  add("switch-over-not-flushed",
      "senders on the source take the uplink before what was redirected has arrived",
      with_row(source(), {SS::kRedirecting,
                          SE::kProof,
                          SS::kWindow,
                          {SA::kStopTimers, SA::kRelease, SA::kStartLateTimer}}));
  add("abort-after-handover", "a lost session aborts a move that was handed over",
      with_row(
          source(),
          {SS::kHandedOver, SE::kConnectionLost, SS::kAborted, {SA::kThaw, SA::kReportAborted}}));
  add("never-asks-again", "the source in doubt does not reconnect",
      without(source(), SA::kReconnect));
  add("no-fence", "the ports of a VM whose rings have stopped are polled on",
      without(without(source(), SA::kPark), SA::kPassOn));
  add("doubt-never-parks", "the source in doubt passes on frames for the VM as before",
      without_on_the_way_to(source(), SS::kInDoubt, SA::kPark));
  add("epoch-not-sealed", "the source does not note that the destination has a newer epoch",
      without(source(), SA::kSealEpoch));
  all.back().claims = true;
  add("claim-not-guarded", "rules may be changed at a source that has claimed the VM",
      without_on_the_way_to(source(), SS::kClaimed, SA::kGuardRules));
  all.back().claims = true;
  {
    auto table = source();
    for (SourceTransition& transition : table) {
      if (transition.event == SE::kRevoked) transition.to = SS::kDone;
    }
    add("revoked-taken-for-done", "the source takes `revoked` for the end of a move that succeeded",
        std::move(table));
  }
}

void add_to_destination(std::vector<Mutant>& all) {
  const auto add = [&](const char* name, const char* what,
                       std::vector<DestinationTransition> table) {
    all.push_back(mutant(name, what));
    all.back().destination = std::move(table);
  };
  add("commit-before-prepared", "the destination publishes as soon as it has staged",
      with_row(destination(), {DS::kOffered,
                               DE::kStaged,
                               DS::kPrepared,
                               {DA::kRecord, DA::kPublish, DA::kEnter, DA::kSendPrepared}}));
  add("active-without-handover", "rings that run are enough for the destination",
      with_row(destination(),
               {DS::kPrepared,
                DE::kRingsRunning,
                DS::kActive,
                {DA::kClaimHandover, DA::kPublish, DA::kAnnounce, DA::kRecord, DA::kSendActive,
                 DA::kEnter, DA::kStartHoldTimer, DA::kStartWindowTimer}}));
  add("direct-not-held", "direct arrivals at the destination do not wait for the backlog",
      with_row(destination(), {DS::kHandedOver,
                               DE::kRingsRunning,
                               DS::kActive,
                               {DA::kPublish, DA::kReleaseDirect, DA::kAnnounce, DA::kRecord,
                                DA::kSendActive, DA::kEnter, DA::kStartWindowTimer}}));
  add("window-not-closed", "copies are paired for ever", without(destination(), DA::kCloseWindow));
  add("not-announced", "the destination does not announce the VM",
      without(destination(), DA::kAnnounce));
  add("records-not-entered", "the records of what was published never follow",
      without(destination(), DA::kEnter));
  add("revoke-ignored", "the destination says `revoked` and keeps the handover",
      with_row(destination(), {DS::kHandedOver, DE::kRevoke, DS::kHandedOver, {DA::kSendRevoked}}));
  {
    auto table = destination();
    std::erase_if(table, [](const DestinationTransition& transition) {
      return transition.event == DE::kAbort;
    });
    add("abort-ignored", "the destination does not hear an abort", std::move(table));
  }
  {
    auto table = destination();
    for (DestinationTransition& transition : table) {
      auto& actions = transition.actions;
      const auto record = std::ranges::find(actions, DA::kRecord);
      const auto active = std::ranges::find(actions, DA::kSendActive);
      if (record < active && active != actions.end()) std::rotate(record, record + 1, active + 1);
    }
    add("active-before-record", "`active` is sent before its record is written", std::move(table));
  }
  add("does-not-ask", "a destination that has lost its source does not ask it",
      without(destination(), DA::kAskSource));
  add("newer-claim-not-yielded", "the destination keeps a VM that was claimed by a newer epoch",
      without(destination(), DA::kUnpublish));
}

void add_to_journal(std::vector<Mutant>& all) {
  const auto add = [&](const char* name, const char* what, auto change) {
    all.push_back(mutant(name, what));
    all.back().journal = [change] { return std::function<void(JournalBatch&)>(change); };
  };
  add("document-not-journaled", "the destination does not write what it has prepared",
      [](JournalBatch& batch) {
        no_moves_in(batch, migration::MoveRole::kDestination, "prepared");
      });
  add("deltas-not-journaled", "the destination does not write what has changed since the offer",
      [](JournalBatch& batch) { batch.deltas.clear(); });
  add("epochs-not-journaled", "no epoch is written",
      [](JournalBatch& batch) { batch.epochs.clear(); });
  add("settled-not-journaled", "how a move ended is not written",
      [](JournalBatch& batch) { batch.settled.clear(); });
  add("policy-not-journaled", "the policy that came with a move is not written",
      [](JournalBatch& batch) {
        batch.emptied.clear();
        batch.created.clear();
        batch.endpoints.clear();
      });
  add("journal-one-behind", "a batch is written only when the next one comes",
      [held = JournalBatch{}](JournalBatch& batch) mutable { std::swap(held, batch); });
}

void add_to_network(std::vector<Mutant>& all) {
  all.push_back(mutant("epoch-not-checked", "every message counts as one by the newest epoch"));
  all.back().network = [] {
    return [](unsigned, unsigned, migration::wire::Envelope& message) {
      if (message.has_epoch() && !message.has_handover())
        message.mutable_epoch()->set_counter(UINT32_MAX);
    };
  };
  all.push_back(
      mutant("copies-not-told-apart", "redirected frames that were sent ahead are taken again"));
  all.back().network = [] {
    // How many frames were taken since the last handover, by host and move.
    return [taken = std::map<std::pair<unsigned, std::string>, uint64_t>{}](
               unsigned, unsigned to, migration::wire::Envelope& message) mutable {
      uint64_t& count = taken[{to, message.move()}];
      if (message.has_handover()) count = 0;
      if (!message.has_redirect()) return;
      message.mutable_redirect()->set_first(count);
      count += static_cast<uint64_t>(message.redirect().frames_size());
    };
  };
  all.push_back(
      mutant("digest-not-compared", "rules that changed are handed over by the old digest"));
  all.back().network = [] {
    // The digest that was prepared, by move.
    return [prepared = std::map<std::string, std::string>{}](
               unsigned, unsigned, migration::wire::Envelope& message) mutable {
      if (message.has_prepared()) prepared[message.move()] = message.prepared().digest();
      if (message.has_delta()) message.mutable_delta()->Clear();
      if (message.has_handover() && !prepared[message.move()].empty())
        message.mutable_handover()->set_digest(prepared[message.move()]);
      if (message.has_handover()) message.mutable_handover()->clear_uplinks_digest();
    };
  };
  all.push_back(mutant("uplink-rules-not-compared",
                       "a destination that has missed such a change takes the handover"));
  all.back().network = [] {
    return [](unsigned, unsigned, migration::wire::Envelope& message) {
      if (message.has_handover()) message.mutable_handover()->clear_uplinks_digest();
    };
  };
  all.push_back(
      mutant("uplink-rules-not-told",
             "what changes of the uplink's rules for a VM after the offer does not travel"));
  all.back().network = [] {
    return [](unsigned, unsigned, migration::wire::Envelope& message) {
      if (message.has_delta() && message.delta().uplink()) message.mutable_delta()->Clear();
      if (message.has_handover()) message.mutable_handover()->clear_uplinks_digest();
    };
  };
}

// Wrappers that change nothing: what the checks find with these is wrong in the wrappers.
void add_identity(std::vector<Mutant>& all) {
  all.push_back(mutant("identity", "a journal and a network that pass on all as it is"));
  all.back().harmless = true;
  all.back().journal = [] { return [](JournalBatch&) {}; };
  all.back().network = [] { return [](unsigned, unsigned, migration::wire::Envelope&) {}; };
}

}  // namespace

const std::vector<Mutant>& all_mutants() {
  static const std::vector<Mutant> kAll = [] {
    std::vector<Mutant> all;
    add_identity(all);
    add_to_source(all);
    add_to_destination(all);
    add_to_journal(all);
    add_to_network(all);
    return all;
  }();
  return kAll;
}

}  // namespace godwit::sim
