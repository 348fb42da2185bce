// SPDX-License-Identifier: Apache-2.0
//
// Fdb: the forwarding database of the action `normal`. It maps (VLAN, MAC) to an endpoint. All
// workers learn from source addresses; the control thread removes old entries. Entries name
// endpoints, so moving a VM changes none of them.
//
// The table has a fixed size and is set-associative. Each set has a version, which is odd while a
// writer changes the set. A reader that sees the version change tries again; after 8 tries it
// reports "not found", and the frame is flooded. A writer that meets another one gives up and
// learns from a later frame. No thread waits. A full set replaces its oldest entry.
//
// Thread safety: any worker calls lookup() and learn() at any time. Only the control thread calls
// age(), flush() and list().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/net.h"

namespace godwit::dataplane {

struct FdbEntry {
  uint16_t vlan = 0;  // zero for untagged
  MacAddress mac;
  EndpointId endpoint;
  uint32_t age_s = 0;
};

class Fdb {
 public:
  // `entries` is clamped to 1,024 .. 16 M and rounded up to a power of two of sets. Entries that
  // were not seen for `ageing_s` seconds are removed by age(); zero keeps them forever.
  Fdb(size_t entries, uint32_t ageing_s);

  // Returns the endpoint, or an invalid id if the address is not known.
  [[nodiscard]] EndpointId lookup(uint16_t vlan, const MacAddress& mac) const;
  // Learns or refreshes an address; group addresses are ignored. `now_s` is in seconds on the
  // workers' clock.
  void learn(uint16_t vlan, const MacAddress& mac, EndpointId endpoint, uint32_t now_s);

  // Removes entries that are too old. Returns how many.
  size_t age(uint32_t now_s);
  // Removes the entries of an endpoint, or all if the id is invalid. Returns how many.
  size_t flush(EndpointId endpoint);
  [[nodiscard]] std::vector<FdbEntry> list(uint32_t now_s) const;
  [[nodiscard]] size_t capacity() const { return (mask_ + 1) * kWays; }

 private:
  static constexpr size_t kWays = 3;
  struct Slot {
    std::atomic<uint64_t> key{0};    // zero if free; bit 63 is set if used
    std::atomic<uint64_t> value{0};  // endpoint << 32 | last seen, seconds
  };
  struct alignas(64) Set {
    std::atomic<uint64_t> version{0};
    Slot slots[kWays];
  };
  class Writer;
  static uint64_t make_key(uint16_t vlan, const MacAddress& mac);
  [[nodiscard]] Set& set_of(uint64_t key) const;
  [[nodiscard]] static bool find(const Set& set, uint64_t key, uint64_t& value);
  template <typename Unwanted>
  size_t remove_if(Unwanted unwanted);

  size_t mask_ = 0;
  uint32_t ageing_s_ = 0;
  std::unique_ptr<Set[]> sets_;
};

}  // namespace godwit::dataplane
