// SPDX-License-Identifier: Apache-2.0
//
// Defects that are put in on purpose, to see that the simulator's checks find them: other tables
// for the machines, a journal that drops or delays records, a network that changes messages.
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
  std::vector<migration::SourceTransition> source;  // empty: as they are
  std::vector<migration::DestinationTransition> destination;
  // Makes what does something to a batch before it is stored; one for each life of a switch.
  std::function<std::function<void(migration::JournalBatch& batch)>()> journal;
  // Makes what changes received messages; one for each run, as it may remember.
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
