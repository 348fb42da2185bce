// SPDX-License-Identifier: Apache-2.0
//
// One simulated run. Two to five hosts have real engines, journals and policy stores; QEMU and
// libvirt move VMs between them; an operator gives commands; a fabric carries numbered packets to
// the VMs; faults happen. All of it comes from one seed, so a run is the same each time.
//
//   world.cc     setting up, stepping, healing
//   host.cc      a host's switch, its crashes and restarts
//   qemu.cc      where VMs run, and what their rings show
//   operator.cc  the commands and the faults, and their times
//   traffic.cc   the packets, and the fate of each
//   checks.cc    the invariants
//
// The world knows more than any host: where a VM really runs, and which rules it was given. The
// checks compare the hosts with that.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "migration/engine/engine.h"
#include "migration/journal/memory_journal.h"
#include "tests/sim/chance.h"
#include "tests/sim/extras.h"
#include "tests/sim/liar.h"
#include "tests/sim/mutants.h"
#include "tests/sim/plan.h"
#include "tests/sim/schedule.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_switch.h"
#include "tests/sim/trace.h"

namespace godwit::sim {

inline constexpr size_t kMaxNics = 3;
inline constexpr int kNowhere = -1;

class World;

// A host's clock, which runs at a rate of its own.
class SkewedClock final : public Clock {
 public:
  SkewedClock(const Schedule& schedule, double rate) : schedule_(schedule), rate_(rate) {}
  [[nodiscard]] uint64_t now_ns() const override {
    return kSecond + static_cast<uint64_t>(static_cast<double>(schedule_.now()) / rate_);
  }

 private:
  const Schedule& schedule_;
  const double rate_;
};

// A switch from its start to its crash.
struct Switch {
  Switch(Schedule& schedule, Chance& chance, const std::shared_ptr<Life>& life, WorkerHost& host,
         const WorkerLimits& limits)
      : worker(schedule, chance, life, host, cell, limits) {}
  dataplane::StateCell cell;
  SimWorker worker;
  dataplane::CounterBank counters{1};
  Reclaimer reclaimer{worker};
  dataplane::PolicyStore store{cell, reclaimer, counters};
  SimPorts ports;
  EndpointId uplink;
};

struct DiskState {
  bool full = false;
  bool lost = false;                           // the host has come back with less than it had
  std::shared_ptr<migration::MemoryDisk> old;  // a copy from before; may be null
};

class Host final : public WorkerHost {
 public:
  Host(World& world, unsigned index, double clock_rate);
  ~Host() override;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  void start();                  // begins a life, with what the disk has
  void crash(const char* when);  // at once; clear() removes the remains
  [[nodiscard]] bool up() const { return life != nullptr && !life->dead; }
  [[nodiscard]] bool to_be_cleared() const { return life != nullptr && life->dead; }
  void clear();
  // Stores the whole policy, as the control plane does when a switch has been set up.
  void keep_policy();
  void port_event(dataplane::PortEventKind kind, PortId port);
  void collect_later();
  // Returns the VM's profiles and rules, with their ids.
  std::string picture_of(const std::string& vm) const;
  // Returns the uplink's rules that lead to the VM alone.
  std::string uplinks_of(const std::string& vm) const;
  [[nodiscard]] std::string digest_of(const std::string& vm) const;
  [[nodiscard]] std::string state_of(
      const std::string& vm, const std::string& peer) const;  // of the last move to the peer

  // WorkerHost
  void delivered(TokenId token, PortId port) override;
  void dropped(TokenId token, const char* reason) override;
  void transmitted(TokenId token, EndpointId to) override;
  void emitted(const std::vector<uint8_t>& frame) override;
  void gate_ready() override;
  void quiescent() override {}

  World& world;
  const unsigned index;
  const std::string name;
  const double clock_rate;
  SkewedClock clock;
  std::shared_ptr<migration::MemoryDisk> disk = std::make_shared<migration::MemoryDisk>();
  DiskState disk_state;
  uint64_t crash_in = 0;  // effects until it dies; zero if it is not to die
  std::shared_ptr<Life> life;
  std::unique_ptr<Switch> sw;
  std::unique_ptr<migration::MemoryJournal> memory;
  std::unique_ptr<migration::Journal> tampered;  // a mutant's journal in front of `memory`
  migration::Journal* journal = nullptr;         // the one of them that the switch uses
  std::unique_ptr<migration::Network> network;
  std::unique_ptr<migration::Engine> engine;
  uint64_t checked_generation = 0;
  bool deaf = false;  // the next check must not rely on the generation

 private:
  Result<void> gatekeeper();
  bool effect();
  void restore();
  bool gate_waits_ = false, collect_waits_ = false;
  uint64_t last_event_at_ = 0;
};

struct Nic {
  std::string name;
  unsigned vm = 0, place = 0;  // which VM, and which of its NICs
  unsigned learned_at = 0;     // the host that the fabric has learned its MAC behind
};

// A QEMU process of the VM on one host.
struct Process {
  bool there = false;
  std::array<bool, kMaxNics> rings{};      // enabled and kicked, if its port is there
  std::array<PortId, kMaxNics> port;       // connected to
  std::array<bool, kMaxNics> connected{};  // at least once
};

struct Vm {
  std::string name;
  std::vector<unsigned> nics;
  int runs_at = 0;    // a host, or kNowhere
  bool busy = false;  // libvirt is working on it
  std::array<Process, kMaxHosts> at;
  // Its policy, as the operator has made it.
  std::string picture, uplinks, digest;
  std::set<std::string> pictures, uplinks_ever;  // the same at all times before
  std::vector<size_t> rules_inside;              // by NIC
  // A host claimed the VM without an answer: changes that it did not know of are lost.
  bool claimed = false;
  int doubted_at = kNowhere;  // a host whose move of it has just come into doubt
  bool order_lost = false;    // a backlog took longer than direct arrivals may wait
  migration::Epoch taken_by;  // the newest epoch by which a host said `active`
  unsigned taken_at = kMaxHosts, taken_from = kMaxHosts;  // that host, and the one it said it to
  uint64_t unserved_since = 0;  // it runs without its policy or a port; zero if it has both
  uint32_t rules_made = 0;
};

struct Flow {
  unsigned nic = 0;
  int from = kNowhere;  // the host of the sender, or kNowhere for a sender on the fabric
  uint32_t sent = 0;
  uint32_t last = 0;  // the sequence number that was delivered last
};

struct Token {
  uint32_t flow = 0, sequence = 0;
  uint8_t touched = 0;  // the hosts that have had it, one bit each
  uint8_t delivered_at = 0;
  bool delivered = false, counted = false, excused = false;
};

// The switch between the hosts.
struct Fabric {
  std::array<uint64_t, kMaxHosts> path_ns{};    // how long a packet takes to each host
  std::array<uint64_t, kMaxHosts> path_last{};  // when the last packet to each host arrives
  uint32_t under_way = 0;                       // packets in it
};

struct RunOptions {
  uint64_t seed = 0;
  unsigned hosts = 2;
  bool trace = false;
  const Mutant* mutant = nullptr;
  Extras extras;
};

struct RunReport {
  std::string violation;  // may be empty
  std::vector<std::string> trace;
  uint64_t events = 0, delivered = 0, dropped = 0, excused = 0, done = 0, aborted = 0, crashes = 0;
};

class World {
 public:
  explicit World(const RunOptions& options);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  RunReport run();

  // Called by hosts.
  void on_delivered(unsigned host, TokenId token, const dataplane::PortInfo& port);
  void on_dropped(unsigned host, TokenId token, const char* reason);
  void on_transmitted(unsigned host, TokenId token);
  void on_emitted(unsigned host, const std::vector<uint8_t>& frame);
  void on_port_added(unsigned host, const std::string& endpoint);
  void on_port_removed(unsigned host, const std::string& endpoint);
  void on_crashed(unsigned host);
  void on_said(unsigned host, unsigned peer, const migration::wire::Envelope& message);
  void on_log(unsigned host, const std::string& line);
  void violate(const std::string& what);

  const RunOptions options;
  Schedule schedule;
  Chance chance;
  Trace trace;
  const Plan plan;
  Wires wires;
  std::vector<std::unique_ptr<Host>> hosts;
  bool healing = false;
  bool rings_changed = false;

 private:
  // world.cc
  void set_up();
  void set_up_vm(unsigned vm, unsigned home);
  void heal();
  void look_whether_all_is_quiet(uint64_t again_in);
  bool quiet();
  bool all_served();
  void help_along(uint64_t since);
  void finish();
  void end_of_event();

  // qemu.cc
  void connect(unsigned vm, unsigned host);
  void set_ring(unsigned vm, unsigned host, unsigned nic, bool on);
  void set_rings(unsigned vm, unsigned host, bool on);
  void leave(unsigned vm, unsigned host);  // ends the VM's process there
  void log_memory(unsigned vm, unsigned host, bool on);
  void wait_until_prepared(unsigned vm, unsigned from, unsigned to, uint64_t until);
  void copy(unsigned vm, unsigned from, unsigned to);
  void pause(unsigned vm, unsigned from, unsigned to);
  void resume(unsigned vm, unsigned from, unsigned to, bool there);
  void reset_driver(unsigned vm);
  void kill_vm(unsigned vm);

  // operator.cc
  void act_later();
  void act();
  void move(unsigned vm);
  void evacuate(unsigned from, unsigned to);
  void cancel(unsigned vm, unsigned at);
  void aim_at_copy(unsigned from, unsigned to);
  void lie_later();
  void lose_disk(Host& host);
  void part(unsigned a, unsigned b, uint64_t for_ns);
  void change_rules(unsigned vm);
  bool change_rule(Host& host, unsigned vm, unsigned nic, bool of_uplink);
  void fault();
  void crash(unsigned host);
  int other_host(unsigned than);

  // traffic.cc
  void traffic_later(unsigned vm);
  void send(unsigned flow);
  void to_fabric(unsigned from, TokenId token);
  void route(TokenId token);
  void vm_speaks(unsigned vm);
  uint64_t path_to(unsigned host);
  void forget_delivered(unsigned vm, unsigned host);

  // checks.cc
  void check_host(Host& host);
  void check_owners();
  void check_at_the_end();
  void check_owned(const Vm& vm, const Host& owner);
  void check_left(const Vm& vm, const Host& other);
  void check_tokens();
  void check_epochs();
  void check_doubts();
  bool disks_lost() const;
  bool checks_service() const;
  std::string missing(const Vm& vm) const;
  int owner_of(const Vm& vm) const;

  std::unique_ptr<Liar> liar_;
  std::vector<Vm> vms_;
  std::vector<Nic> nics_;
  std::vector<Flow> flows_;
  std::vector<Token> tokens_;
  Fabric fabric_;
  // Whether each host accepts the transmissions of each NIC, by what it has published.
  std::array<std::array<bool, kMaxNics * 3>, kMaxHosts> accepts_{};
  RunReport report_;
  bool over_ = false, restarted_once_more_ = false;
  uint64_t healed_at_ = 0;
};

}  // namespace godwit::sim
