// SPDX-License-Identifier: Apache-2.0
//
// The network between the peers of a simulated run (migration/link/network.h).
//
// A session delivers whole messages, in order and once, each after a delay of its own. Sessions are
// cut, and their ends learn of it at different times. Hosts cannot reach each other for a while,
// and connections fail. Messages are serialized and parsed, as between real peers.
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

// The life of a switch, from its start to its crash. Code that still runs on its control thread
// after the crash has no effect on the world.
struct Life {
  bool dead = false;
  // Called before each effect on the world. Returns false if the switch died instead.
  std::function<bool()> effect;
};

struct WireFaults {
  uint64_t delay_low = 20 * kUs, delay_high = 200 * kUs;
  uint64_t cut_one_in = 0;        // cuts at one of so many messages; zero for none
  uint64_t late_end_percent = 0;  // of cuts, at which one end learns of it much later
};

class SimSession;

class Wires {
 public:
  using OnLost = std::function<void(const migration::wire::Redirect& frames)>;
  Wires(Schedule& schedule, Chance& chance, Trace& trace)
      : schedule_(schedule), chance_(chance), trace_(trace) {}
  ~Wires();

  WireFaults faults;
  OnLost on_lost;  // redirected frames were under way in a session that was cut
  // A host has received redirected frames.
  std::function<void(unsigned host, const migration::wire::Redirect& frames)> on_taken;
  // A host says a message, which may be lost.
  std::function<void(unsigned host, unsigned peer, const migration::wire::Envelope& message)>
      on_said;
  // Changes a received message, for mutants. May be null.
  std::function<void(unsigned from, unsigned to, migration::wire::Envelope& message)> tamper;

  // Returns a host's view of the network, for one life of its switch. A second of its timers takes
  // `clock_rate` seconds of the world.
  std::unique_ptr<migration::Network> attach(unsigned host, std::shared_ptr<Life> life,
                                             double clock_rate);
  static std::string address_of(unsigned host) {
    return "127.0.0.1:" + std::to_string(7000 + host);
  }
  static std::string host_name(unsigned host) {
    return std::string("host-") + static_cast<char>('a' + host);
  }

  void kill(unsigned host);  // its process is gone, and its kernel closes its connections
  void part(unsigned a, unsigned b, bool parted);
  [[nodiscard]] bool parted(unsigned a, unsigned b) const { return parted_[a][b]; }
  void cut_between(unsigned a, unsigned b);  // cuts their sessions
  void cut_some();                           // cuts one of the sessions, if there are any
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
  std::array<std::array<uint64_t, kMaxHosts>, kMaxHosts> partings_{};  // the number of partings
  std::vector<std::shared_ptr<SimSession>> open_;                      // ends that are read
};

}  // namespace godwit::sim
