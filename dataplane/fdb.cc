// SPDX-License-Identifier: Apache-2.0
#include "dataplane/fdb.h"

#include <algorithm>
#include <bit>

namespace godwit::dataplane {

namespace {

constexpr uint64_t kUsed = uint64_t{1} << 63;

uint64_t mix(uint64_t x) {  // splitmix64's finalizer (Steele, Lea, Flood 2014)
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

constexpr uint64_t make_value(EndpointId endpoint, uint32_t now_s) {
  return static_cast<uint64_t>(endpoint.value) << 32 | now_s;
}
constexpr EndpointId endpoint_of(uint64_t value) { return EndpointId{static_cast<uint32_t>(value >> 32)}; }
constexpr uint32_t seen_s(uint64_t value) { return static_cast<uint32_t>(value); }

}  // namespace

Fdb::Fdb(size_t entries, uint32_t ageing_s) : ageing_s_(ageing_s) {
  const size_t sets = std::bit_ceil(std::clamp<size_t>(entries, 1024, size_t{1} << 24)) / kWays;
  mask_ = sets - 1;
  sets_ = std::make_unique<Set[]>(sets);
}

uint64_t Fdb::make_key(uint16_t vlan, const MacAddress& mac) {
  return kUsed | static_cast<uint64_t>(vlan & 0xfff) << 48 | mac.to_u64();
}

Fdb::Set& Fdb::set_of(uint64_t key) const { return sets_[mix(key) & mask_]; }

EndpointId Fdb::lookup(uint16_t vlan, const MacAddress& mac) const {
  const uint64_t key = make_key(vlan, mac);
  for (const Slot& slot : set_of(key).slots) {
    if (slot.key.load(std::memory_order_acquire) != key) continue;
    const uint64_t value = slot.value.load(std::memory_order_acquire);
    // Replaced in between: the value may be another key's.
    if (slot.key.load(std::memory_order_relaxed) == key && value != 0) return endpoint_of(value);
  }
  return EndpointId{};
}

void Fdb::learn(uint16_t vlan, const MacAddress& mac, EndpointId endpoint, uint32_t now_s) {
  if (mac.is_group()) return;
  const uint64_t key = make_key(vlan, mac);
  const uint64_t value = make_value(endpoint, now_s);
  Set& set = set_of(key);
  Slot* victim = nullptr;
  uint64_t victim_key = 0;
  uint32_t oldest_s = UINT32_MAX;
  for (Slot& slot : set.slots) {
    const uint64_t slot_key = slot.key.load(std::memory_order_acquire);
    const uint64_t slot_value = slot.value.load(std::memory_order_relaxed);
    if (slot_key == key) {
      // Seen this second already: nothing is written, the line stays shared.
      if (slot_value != value) slot.value.store(value, std::memory_order_release);
      return;
    }
    const uint32_t age_key = slot_key == 0 ? 0 : seen_s(slot_value);
    if (victim == nullptr || age_key < oldest_s) {
      victim = &slot;
      victim_key = slot_key;
      oldest_s = age_key;
    }
  }
  // Claim: no key while the value changes, so that readers never see the new key with the old value. Who
  // loses the race simply has not learned this time.
  uint64_t expected = victim_key;
  if (victim_key != kUsed && victim->key.compare_exchange_strong(expected, kUsed, std::memory_order_acq_rel)) {
    victim->value.store(value, std::memory_order_release);
    victim->key.store(key, std::memory_order_release);
  }
}

size_t Fdb::age(uint32_t now_s) {
  if (ageing_s_ == 0) return 0;
  size_t removed = 0;
  for (size_t i = 0; i <= mask_; ++i) {
    for (Slot& slot : sets_[i].slots) {
      uint64_t key = slot.key.load(std::memory_order_acquire);
      if (key == 0 || key == kUsed) continue;
      const uint32_t seen = seen_s(slot.value.load(std::memory_order_relaxed));
      if (now_s > seen && now_s - seen > ageing_s_ && slot.key.compare_exchange_strong(key, 0)) ++removed;
    }
  }
  return removed;
}

size_t Fdb::flush(EndpointId endpoint) {
  size_t removed = 0;
  for (size_t i = 0; i <= mask_; ++i) {
    for (Slot& slot : sets_[i].slots) {
      uint64_t key = slot.key.load(std::memory_order_acquire);
      if (key == 0 || key == kUsed) continue;
      const bool wanted = !endpoint.valid() || endpoint_of(slot.value.load(std::memory_order_acquire)) == endpoint;
      if (wanted && slot.key.compare_exchange_strong(key, 0)) ++removed;
    }
  }
  return removed;
}

std::vector<FdbEntry> Fdb::list(uint32_t now_s) const {
  std::vector<FdbEntry> out;
  for (size_t i = 0; i <= mask_; ++i) {
    for (const Slot& slot : sets_[i].slots) {
      const uint64_t key = slot.key.load(std::memory_order_acquire);
      if (key == 0 || key == kUsed) continue;
      const uint64_t value = slot.value.load(std::memory_order_acquire);
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
