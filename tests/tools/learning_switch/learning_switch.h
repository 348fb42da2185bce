// SPDX-License-Identifier: Apache-2.0
//
// The forwarding decisions of a physical switch between hosts, with bad habits as options. It
// learns addresses by VLAN from the sources of frames and forwards a frame by its destination. It
// has no devices and no clock of its own.
//
// - Slow: an address moves to a port `learn_delay_ns` after the first frame from there. Until then
//   its former port remains.
// - Forgetful: an address without a frame for `age_ns` is unknown. forget() empties the table at
//   once.
// - Never floods: a frame to one unknown address is dropped instead of flooded.
// - Deaf: drops announcements (RARP, gratuitous ARP, unsolicited neighbor advertisements) and
//   learns nothing from them.
// - VLANs: switches only the listed VLANs, each separately. An empty list allows all VLANs.
//
// A frame to a group goes to every other port. Each frame is counted exactly once: as flooded, as
// known, or as a named drop. Not thread safe. Times are CLOCK_MONOTONIC nanoseconds.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>

namespace godwit::learning_switch {

struct SwitchHabits {
  int64_t learn_delay_ns = 0;
  int64_t age_ns = 0;  // Zero for no aging.
  bool never_flood = false;
  bool drop_announcements = false;
  std::bitset<4096> vlans;
};

struct SwitchCounts {
  uint64_t frames = 0;
  uint64_t known = 0;    // Sent to the port of the destination.
  uint64_t flooded = 0;  // To one unknown address.
  uint64_t groups = 0;
  uint64_t unknown_dropped = 0;  // To one unknown address, with never_flood.
  uint64_t announcement_dropped = 0;
  uint64_t vlan_dropped = 0;
  uint64_t hairpin_dropped = 0;  // The destination is at the port of arrival.
  uint64_t runts = 0;
  uint64_t table_full = 0;  // Sources that were not learned.
  uint64_t moved = 0;       // Addresses that changed their port.
};

// Returns whether the frame only announces the place of an address.
bool is_announcement(std::span<const uint8_t> frame);

class LearningSwitch {
 public:
  static constexpr size_t kMaxPorts = 16;
  static constexpr size_t kMaxAddresses = 65536;
  using PortMask = uint32_t;

  explicit LearningSwitch(size_t ports) : ports_(ports) {}

  void set_habits(const SwitchHabits& habits) { habits_ = habits; }
  [[nodiscard]] const SwitchHabits& habits() const { return habits_; }
  // Learns from a frame that arrived at port `in` and returns the ports to which it goes. Returns
  // no port, and counts a drop, if the frame is dropped.
  PortMask forward(size_t in, std::span<const uint8_t> frame, int64_t now_ns);
  void forget() { table_.clear(); }
  [[nodiscard]] size_t addresses() const { return table_.size(); }
  // Returns the port of an address, or -1 if it is unknown. `mac` has 48 bits.
  [[nodiscard]] int where(uint16_t vlan, uint64_t mac, int64_t now_ns);
  [[nodiscard]] const SwitchCounts& counts() const { return counts_; }

 private:
  struct Place {
    uint8_t port = 0;
    uint8_t next_port = 0;  // The address was seen there, before the learn delay ends.
    bool known = false;     // `port` is valid.
    bool moving = false;    // `next_port` is valid.
    int64_t heard_ns = 0;
    int64_t moving_since_ns = 0;
  };

  void learn(size_t in, uint64_t key, int64_t now_ns);
  void settle(Place& place, int64_t now_ns);

  const size_t ports_;
  SwitchHabits habits_;
  std::unordered_map<uint64_t, Place> table_;  // By VLAN and address.
  SwitchCounts counts_;
};

}  // namespace godwit::learning_switch
