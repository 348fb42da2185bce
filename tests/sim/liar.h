// SPDX-License-Identifier: Apache-2.0
//
// A peer that lies: a host with a name and a certificate like others, on which no switch runs. It
// opens sessions to the honest hosts and says what it has overheard or made up, about moves that
// are not its own. Nothing that it says may change anything (invariant 8).
//
// It offers no VM and pulls none: those would be moves of its own.
#pragma once

#include <deque>
#include <memory>

#include "migration/link/codec.h"
#include "tests/sim/chance.h"
#include "tests/sim/sim_network.h"

namespace godwit::sim {

class Liar {
 public:
  // Lies as host `index` to the hosts before it.
  Liar(Wires& wires, Schedule& schedule, uint64_t seed, unsigned index);
  ~Liar();
  Liar(const Liar&) = delete;
  Liar& operator=(const Liar&) = delete;

  // Keeps a message that an honest host has said.
  void overhear(const migration::wire::Envelope& message);
  // Says some messages to a host, in a session of their own.
  void lie();

 private:
  migration::wire::Envelope lie_about(const migration::wire::Envelope& overheard);
  migration::wire::Epoch some_epoch(const migration::wire::Envelope& overheard);
  void talk(const std::shared_ptr<migration::PeerSession>& session);

  Schedule& schedule_;
  Chance chance_;
  const unsigned index_;
  std::shared_ptr<Life> life_;
  std::unique_ptr<migration::Network> network_;
  std::deque<migration::wire::Envelope> overheard_;
};

}  // namespace godwit::sim
