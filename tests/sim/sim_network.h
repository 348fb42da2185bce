// SPDX-License-Identifier: Apache-2.0
//
// The peers' network of a simulated run (migration/link/network.h): whole messages, in order and
// once within a session, each after a delay of its own; sessions that are cut, and whose ends learn
// of it at different times; hosts that do not hear each other; connections that fail. What crosses
// it is serialized and parsed, as between real peers.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "migration/link/network.h"
#include "tests/sim/chance.h"
#include "tests/sim/schedule.h"
#include "tests/sim/trace.h"

namespace godwit::sim {

inline constexpr size_t kMaxHosts = 5;

// A switch from its start to its crash. What still runs on its control thread after that has no
// effect on the world.
struct Life {
  bool dead = false;
  std::function<bool()>
      effect;  // asked before each thing that it does to the world; false: it died instead
};

struct WireFaults {
  uint64_t delay_low = 20 * kUs, delay_high = 200 * kUs;
  uint64_t cut_one_in = 0;        // messages; 0: never
  uint64_t late_end_percent = 0;  // of cuts: one end learns of it much later
};

class SimSession;

class Wires {
 public:
  using OnLost = std::function<void(const migration::wire::Redirect& frames)>;
  Wires(Schedule& schedule, Chance& chance, Trace& trace)
      : schedule_(schedule), chance_(chance), trace_(trace) {}
  ~Wires();

  WireFaults faults;
  OnLost on_lost;  // redirected frames that were on the way in a session that was cut
  std::function<void(unsigned host, const migration::wire::Redirect& frames)>
      on_taken;  // a host has them now
  // A mutant's: changes what is received. Null: nothing.
  std::function<void(unsigned from, unsigned to, migration::wire::Envelope& message)> tamper;

  // A host's view, for one life of its switch. `clock_rate`: its timers' second is so many of the
  // world's.
  std::unique_ptr<migration::Network> attach(unsigned host, std::shared_ptr<Life> life,
                                             double clock_rate);
  static std::string address_of(unsigned host) {
    return "127.0.0.1:" + std::to_string(7000 + host);
  }
  static std::string host_name(unsigned host) {
    return std::string("host-") + static_cast<char>('a' + host);
  }

  void kill(unsigned host);  // the process is gone: its kernel closes its connections
  void part(unsigned a, unsigned b, bool parted);
  [[nodiscard]] bool parted(unsigned a, unsigned b) const { return parted_[a][b]; }
  void cut_some();  // one of the sessions, if there are any
  [[nodiscard]] size_t sessions() const { return open_.size(); }

 private:
  friend class SimSession;
  friend class SimNetwork;
  struct Listener {
    migration::Network::OnAccepted accepted;
    std::shared_ptr<Life> life;
  };
  void connect(unsigned from, const std::shared_ptr<Life>& life, const std::string& address,
               migration::Network::OnConnected done);
  void cut(const std::shared_ptr<SimSession>& session, const char* why);
  void carry(const std::shared_ptr<SimSession>& to, std::string bytes);
  void arrive(const std::shared_ptr<SimSession>& to);
  void forget(const SimSession* session);
  uint64_t delay() { return chance_.spread(faults.delay_low, faults.delay_high); }

  Schedule& schedule_;
  Chance& chance_;
  Trace& trace_;
  std::array<Listener, kMaxHosts> listeners_;
  std::array<std::array<bool, kMaxHosts>, kMaxHosts> parted_{};
  std::array<std::array<uint64_t, kMaxHosts>, kMaxHosts> partings_{};  // how often
  std::vector<std::shared_ptr<SimSession>> open_;  // ends that are read, as a socket keeps itself
};

}  // namespace godwit::sim
