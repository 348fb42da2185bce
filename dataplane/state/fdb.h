// SPDX-License-Identifier: Apache-2.0
//
// The forwarding database of `normal`: (VLAN, MAC) -> endpoint, learned from source addresses by
// all workers, aged by the control thread. Entries name endpoints, so moving a VM changes none of
// them.
//
// A fixed, set-associative table. Each set has a version that is odd while a writer is in it: a
// reader that sees it change looks again, and after a few times answers "not known", on which a
// switch floods. A writer that finds another one there gives up: it learns from the next frame.
// Nobody waits. A full set replaces its oldest entry.
//
// Thread safety: lookup() and learn() by any worker at any time; age(), flush() and list() by the
// control thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/net.h"

namespace godwit::dataplane {

struct FdbEntry {
  uint16_t vlan = 0;  // 0 = untagged
  MacAddress mac;
  EndpointId endpoint;
  uint32_t age_s = 0;
};

class Fdb {
 public:
  // entries: rounded up to a power of two, 1,024 at least. ageing_s: 0 = never.
  Fdb(size_t entries, uint32_t ageing_s);

  // An invalid id: not known.
  [[nodiscard]] EndpointId lookup(uint16_t vlan, const MacAddress& mac) const;
  // Group addresses are not learned. `now_s`: seconds on the workers' clock.
  void learn(uint16_t vlan, const MacAddress& mac, EndpointId endpoint, uint32_t now_s);

  size_t age(uint32_t now_s);         // returns how many it removed
  size_t flush(EndpointId endpoint);  // of one endpoint; an invalid id: all
  [[nodiscard]] std::vector<FdbEntry> list(uint32_t now_s) const;
  [[nodiscard]] size_t capacity() const { return (mask_ + 1) * kWays; }

 private:
  static constexpr size_t kWays = 3;
  struct Slot {
    std::atomic<uint64_t> key{0};    // 0 = free; bit 63 in a used one
    std::atomic<uint64_t> value{0};  // endpoint << 32 | last seen, seconds
  };
  struct alignas(64) Set {
    std::atomic<uint64_t> version{0};
    Slot slots[kWays];
  };
  class Writer;  // in a set, if nobody else is
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
