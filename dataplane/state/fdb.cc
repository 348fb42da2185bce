// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/fdb.h"

#include <algorithm>
#include <bit>
#include <thread>

namespace godwit::dataplane {

namespace {

constexpr uint64_t kUsed = uint64_t{1} << 63;
constexpr int kReadTries = 8;

uint64_t mix(uint64_t x) {  // finalizer of SplitMix64 (Steele, Lea, Flood 2014)
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

constexpr uint64_t make_value(EndpointId endpoint, uint32_t now_s) {
  return static_cast<uint64_t>(endpoint.value) << 32 | now_s;
}
constexpr EndpointId endpoint_of(uint64_t value) {
  return EndpointId{static_cast<uint32_t>(value >> 32)};
}
constexpr uint32_t seen_s(uint64_t value) { return static_cast<uint32_t>(value); }

}  // namespace

// Holds a set for writing: its version is odd while a Writer exists for which entered() is true.
class Fdb::Writer {
 public:
  explicit Writer(Set& set) : set_(set), version_(set.version.load(std::memory_order_relaxed)) {
    entered_ = (version_ & 1) == 0 && set_.version.compare_exchange_strong(
                                          version_, version_ + 1, std::memory_order_acquire);
    std::atomic_thread_fence(std::memory_order_release);
  }
  ~Writer() {
    if (entered_) set_.version.store(version_ + 2, std::memory_order_release);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  [[nodiscard]] bool entered() const { return entered_; }

 private:
  Set& set_;
  uint64_t version_;
  bool entered_ = false;
};

Fdb::Fdb(size_t entries, uint32_t ageing_s) : ageing_s_(ageing_s) {
  const size_t wanted = std::clamp<size_t>(entries, 1024, size_t{1} << 24);
  const size_t sets = std::bit_ceil((wanted + kWays - 1) / kWays);
  mask_ = sets - 1;
  sets_ = std::make_unique<Set[]>(sets);
}

uint64_t Fdb::make_key(uint16_t vlan, const MacAddress& mac) {
  return kUsed | static_cast<uint64_t>(vlan & 0xfff) << 48 | mac.to_u64();
}

Fdb::Set& Fdb::set_of(uint64_t key) const { return sets_[mix(key) & mask_]; }

// Reads the value of the key as it was at one point in time. Returns false if the key is not found,
// or if writers interfered kReadTries times.
bool Fdb::find(const Set& set, uint64_t key, uint64_t& value) {
  for (int tries = 0; tries < kReadTries; ++tries) {
    const uint64_t before = set.version.load(std::memory_order_acquire);
    if ((before & 1) != 0) continue;
    bool found = false;
    for (const Slot& slot : set.slots) {
      if (slot.key.load(std::memory_order_relaxed) != key) continue;
      value = slot.value.load(std::memory_order_relaxed);
      found = true;
      break;
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (set.version.load(std::memory_order_relaxed) == before) return found;
  }
  return false;
}

EndpointId Fdb::lookup(uint16_t vlan, const MacAddress& mac) const {
  const uint64_t key = make_key(vlan, mac);
  uint64_t value = 0;
  return find(set_of(key), key, value) ? endpoint_of(value) : EndpointId{};
}

void Fdb::learn(uint16_t vlan, const MacAddress& mac, EndpointId endpoint, uint32_t now_s) {
  if (mac.is_group()) return;
  const uint64_t key = make_key(vlan, mac);
  const uint64_t value = make_value(endpoint, now_s);
  Set& set = set_of(key);
  // An entry that was seen this second is not written, so its cache line stays shared.
  if (uint64_t known = 0; find(set, key, known) && known == value) return;
  const Writer writer(set);
  if (!writer.entered()) return;
  Slot* place = nullptr;
  uint64_t oldest = UINT64_MAX;
  for (Slot& slot : set.slots) {
    const uint64_t slot_key = slot.key.load(std::memory_order_relaxed);
    if (slot_key == key) {
      place = &slot;
      break;
    }
    const uint64_t age =
        slot_key == 0 ? 0 : uint64_t{1} + seen_s(slot.value.load(std::memory_order_relaxed));
    if (age < oldest) {
      place = &slot;
      oldest = age;
    }
  }
  place->key.store(key, std::memory_order_relaxed);
  place->value.store(value, std::memory_order_relaxed);
}

// Removes matching entries. A worker holds a set only for a moment, so the control thread retries.
template <typename Unwanted>
size_t Fdb::remove_if(Unwanted unwanted) {
  size_t removed = 0;
  for (size_t i = 0; i <= mask_; ++i) {
    const auto any = [&] {
      return std::ranges::any_of(sets_[i].slots, [&](const Slot& slot) {
        return slot.key.load(std::memory_order_relaxed) != 0 &&
               unwanted(slot.value.load(std::memory_order_relaxed));
      });
    };
    while (any()) {
      const Writer writer(sets_[i]);
      if (!writer.entered()) {
        std::this_thread::yield();
        continue;
      }
      for (Slot& slot : sets_[i].slots) {
        if (slot.key.load(std::memory_order_relaxed) == 0 ||
            !unwanted(slot.value.load(std::memory_order_relaxed)))
          continue;
        slot.key.store(0, std::memory_order_relaxed);
        ++removed;
      }
    }
  }
  return removed;
}

size_t Fdb::age(uint32_t now_s) {
  if (ageing_s_ == 0) return 0;
  return remove_if(
      [&](uint64_t value) { return now_s > seen_s(value) && now_s - seen_s(value) > ageing_s_; });
}

size_t Fdb::flush(EndpointId endpoint) {
  return remove_if(
      [&](uint64_t value) { return !endpoint.valid() || endpoint_of(value) == endpoint; });
}

std::vector<FdbEntry> Fdb::list(uint32_t now_s) const {
  std::vector<FdbEntry> out;
  for (size_t i = 0; i <= mask_; ++i) {
    for (const Slot& slot : sets_[i].slots) {
      const uint64_t key = slot.key.load(std::memory_order_relaxed);
      uint64_t value = 0;
      if (key == 0 || !find(sets_[i], key, value)) continue;
      FdbEntry entry;
      entry.vlan = static_cast<uint16_t>(key >> 48 & 0xfff);
      for (size_t b = 0; b < 6; ++b) entry.mac.bytes[b] = static_cast<uint8_t>(key >> (40 - 8 * b));
      entry.endpoint = endpoint_of(value);
      entry.age_s = now_s > seen_s(value) ? now_s - seen_s(value) : 0;
      out.push_back(entry);
    }
  }
  return out;
}

}  // namespace godwit::dataplane
