// SPDX-License-Identifier: Apache-2.0
//
// Detects the second copy of a frame that reaches a moved VM twice: directly, and redirected by the
// host that the VM left.
//
// A frame to a group floods to both hosts. A unicast frame does too if the fabric has forgotten its
// address. While the window of a move is open, the destination remembers a digest of each such
// frame together with the way it came. A copy that comes the other way is the second one and
// removes the digest, so that equal frames sent again (a repeated ARP request) are paired one by
// one.
//
// Bounds: a full set overwrites its places in turn. A forgotten frame is delivered twice; none is
// lost. The salt makes the frames of a window distinct, so what an earlier move left behind never
// matches.
//
// Thread safety: any worker at any time; lock-free.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

namespace godwit::dataplane {

class GroupDedupe {
 public:
  GroupDedupe() : sets_(std::make_unique<Set[]>(kSets)) {}

  // Returns whether the frame's other copy has been here, else remembers this one. `head` holds the
  // frame's contiguous bytes and `length` is that of the whole frame.
  bool second_copy(std::span<const uint8_t> head, uint32_t length, uint64_t salt, bool redirected) {
    const uint64_t digest = hash(head, length, salt) | 2;  // 0 marks a free place
    const uint64_t mine = (digest & ~uint64_t{1}) | (redirected ? 1 : 0);
    const uint64_t twin = mine ^ 1;
    Set& set = sets_[digest >> 32 & (kSets - 1)];
    for (auto& place : set.places) {
      uint64_t expected = twin;
      if (place.load(std::memory_order_relaxed) == twin &&
          place.compare_exchange_strong(expected, 0))
        return true;
    }
    for (auto& place : set.places) {
      uint64_t expected = 0;
      if (place.compare_exchange_strong(expected, mine)) return false;
    }
    set.places[set.oldest.fetch_add(1, std::memory_order_relaxed) % kPlaces].store(mine);
    return false;
  }

 private:
  // 4 MB, room for one second at 400,000 frames a second. While frames wait, few sets are full.
  static constexpr size_t kSets = 65536;
  static constexpr size_t kPlaces = 7;
  static constexpr uint32_t kMinFrame = 60;  // a NIC pads shorter ones with zeros
  struct alignas(64) Set {
    std::array<std::atomic<uint64_t>, kPlaces> places{};
    std::atomic<uint64_t> oldest{0};
  };

  static uint64_t hash(std::span<const uint8_t> bytes, uint32_t length, uint64_t salt) {
    std::array<uint8_t, kMinFrame> padded;
    if (bytes.size() < kMinFrame && bytes.size() == length) {
      padded.fill(0);
      std::memcpy(padded.data(), bytes.data(), length);
      bytes = padded;
      length = kMinFrame;
    }
    uint64_t h = (salt ^ 0x9e3779b97f4a7c15ull) + length;
    while (!bytes.empty()) {
      uint64_t word = 0;
      const size_t take = bytes.size() < 8 ? bytes.size() : 8;
      std::memcpy(&word, bytes.data(), take);
      h = (h ^ word) * 0xff51afd7ed558ccdull;
      h ^= h >> 32;
      bytes = bytes.subspan(take);
    }
    h *= 0xc4ceb9fe1a85ec53ull;
    return h ^ h >> 29;
  }

  std::unique_ptr<Set[]> sets_;
};

}  // namespace godwit::dataplane
