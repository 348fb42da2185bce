// SPDX-License-Identifier: Apache-2.0
//
// What a physical switch between hosts decides, with its bad habits as options: a table of
// addresses by VLAN, from the sources of frames; where a frame goes, by its destination. Pure: no
// devices, no clock of its own.
//
// - Slow: a source counts from `learn_delay_ns` after its first frame there; until then the former
// place holds.
// - Forgetful: what was not heard for `age_ns` is unknown. forget() empties the table at once.
// - Never floods: a frame to one address that is unknown is dropped, instead of flooded.
// - Deaf: drops announcements (RARP, gratuitous ARP, unsolicited neighbour advertisements), and
// learns nothing by them.
// - VLANs: those listed are switched, each by itself, and nothing else is; none listed: all are,
// one by one.
//
// A frame to a group goes to every other port. Each frame is counted as exactly one of: flooded,
// known, or a named drop. Not thread safe. Times are CLOCK_MONOTONIC nanoseconds.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>

namespace godwit::support {

struct SwitchHabits {
  int64_t learn_delay_ns = 0;
  int64_t age_ns = 0;  // 0: never forgets by itself
  bool never_flood = false;
  bool drop_announcements = false;
  std::bitset<4096> vlans;
};

struct SwitchCounts {
  uint64_t frames = 0;
  uint64_t known = 0;    // to the one port behind which the destination is
  uint64_t flooded = 0;  // one address, unknown
  uint64_t groups = 0;
  uint64_t unknown_dropped = 0;  // one address, unknown, never_flood
  uint64_t announcement_dropped = 0;
  uint64_t vlan_dropped = 0;
  uint64_t hairpin_dropped = 0;  // the destination is behind the port it came by
  uint64_t runts = 0;
  uint64_t table_full = 0;  // sources that were not learned
  uint64_t moved = 0;       // addresses that changed their port
};

// Whether the frame tells where an address is now, and nothing else.
bool is_announcement(std::span<const uint8_t> frame);

class LearningSwitch {
 public:
  static constexpr size_t kMaxPorts = 16;
  static constexpr size_t kMaxAddresses = 65536;
  using PortMask = uint32_t;

  explicit LearningSwitch(size_t ports) : ports_(ports) {}

  void set_habits(const SwitchHabits& habits) { habits_ = habits; }
  [[nodiscard]] const SwitchHabits& habits() const { return habits_; }
  // Ports that a frame which came by `in` leaves by; none: it is dropped, and counted. Learns.
  PortMask forward(size_t in, std::span<const uint8_t> frame, int64_t now_ns);
  void forget() { table_.clear(); }
  [[nodiscard]] size_t addresses() const { return table_.size(); }
  // The port behind which an address is, as far as it is known; -1 where not. `mac`: 48 bits.
  [[nodiscard]] int where(uint16_t vlan, uint64_t mac, int64_t now_ns);
  [[nodiscard]] const SwitchCounts& counts() const { return counts_; }

 private:
  struct Place {
    uint8_t port = 0;
    uint8_t next_port = 0;  // heard there, and not believed yet
    bool known = false;     // `port` counts
    bool moving = false;    // `next_port` does
    int64_t heard_ns = 0;
    int64_t moving_since_ns = 0;
  };

  void learn(size_t in, uint64_t key, int64_t now_ns);
  void settle(Place& place, int64_t now_ns);

  const size_t ports_;
  SwitchHabits habits_;
  std::unordered_map<uint64_t, Place> table_;  // by VLAN and address
  SwitchCounts counts_;
};

}  // namespace godwit::support
