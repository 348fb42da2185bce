// SPDX-License-Identifier: Apache-2.0
//
// Deliberate defects. The simulator must find each of them, which shows that its checks work: other
// tables for the machines, a journal that drops or delays records, a network that changes messages.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "migration/engine/engine.h"
#include "migration/journal/journal.h"
#include "migration/link/codec.h"

namespace godwit::sim {

struct Mutant {
  std::string name;
  std::string what;
  bool claims = false;    // its runs have the extra `claims`
  bool harmless = false;  // changes nothing: no check may find it
  // The tables in place of the real ones, which are used if these are empty.
  std::vector<migration::SourceTransition> source;
  std::vector<migration::DestinationTransition> destination;
  // Returns a function that changes a batch before it is stored; one for each life of a switch.
  std::function<std::function<void(migration::JournalBatch& batch)>()> journal;
  // Returns a function that changes received messages; one for each run, as it may keep state.
  std::function<
      std::function<void(unsigned from, unsigned to, migration::wire::Envelope& message)>()>
      network;

  [[nodiscard]] migration::MoveTables tables() const {
    migration::MoveTables tables;
    if (!source.empty()) tables.source = source;
    if (!destination.empty()) tables.destination = destination;
    return tables;
  }
};

[[nodiscard]] const std::vector<Mutant>& all_mutants();

}  // namespace godwit::sim
