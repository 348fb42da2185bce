// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/learning_switch/learning_switch.h"

#include <algorithm>

namespace godwit::learning_switch {
namespace {

constexpr size_t kHeader = 14;
constexpr uint16_t kVlanType = 0x8100;

uint64_t number(std::span<const uint8_t> frame, size_t at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value = value << 8 | frame[at + i];
  }
  return value;
}

// Returns the VLAN of the outer tag, or zero without a tag.
uint16_t vlan_of(std::span<const uint8_t> frame) {
  const bool tagged = frame.size() >= kHeader + 4 && number(frame, 12, 2) == kVlanType;
  return tagged ? static_cast<uint16_t>(number(frame, 14, 2) & 0xfff) : uint16_t{0};
}

uint64_t key_of(uint16_t vlan, uint64_t mac) { return uint64_t{vlan} << 48 | mac; }

}  // namespace

bool is_announcement(std::span<const uint8_t> frame) {
  size_t at = 12;
  while (frame.size() >= at + 6 && number(frame, at, 2) == kVlanType) {
    at += 4;
  }
  if (frame.size() < at + 2) {
    return false;
  }
  const uint64_t type = number(frame, at, 2);
  const std::span<const uint8_t> body = frame.subspan(at + 2);
  if (type == 0x8035) {
    return true;
  }
  if (type == 0x0806) {  // Gratuitous: sender and target are the same address.
    return body.size() >= 28 && std::equal(body.begin() + 14, body.begin() + 18, body.begin() + 24);
  }
  // An ICMPv6 neighbor advertisement without the flag `solicited`.
  return type == 0x86dd && body.size() >= 64 && body[6] == 58 && body[40] == 136 &&
         (body[44] & 0x40) == 0;
}

// Completes moves whose delay has ended, and ages addresses out.
void LearningSwitch::settle(Place& place, int64_t now_ns) {
  if (place.moving && now_ns - place.moving_since_ns >= habits_.learn_delay_ns) {
    counts_.moved += place.known && place.port != place.next_port ? 1 : 0;
    place.port = place.next_port;
    place.known = true;
    place.moving = false;
  }
  if (habits_.age_ns > 0 && now_ns - place.heard_ns >= habits_.age_ns) {
    place.known = place.moving = false;
  }
}

void LearningSwitch::learn(size_t in, uint64_t key, int64_t now_ns) {
  auto found = table_.find(key);
  if (found == table_.end()) {
    if (table_.size() >= kMaxAddresses) {
      ++counts_.table_full;
      return;
    }
    found = table_.emplace(key, Place{}).first;
  } else {
    settle(found->second, now_ns);
  }
  Place& place = found->second;
  place.heard_ns = now_ns;
  if (place.known && place.port == in) {
    place.moving = false;
    return;
  }
  if (!place.moving || place.next_port != in) {
    place.next_port = static_cast<uint8_t>(in);
    place.moving = true;
    place.moving_since_ns = now_ns;
  }
  settle(place, now_ns);
}

int LearningSwitch::where(uint16_t vlan, uint64_t mac, int64_t now_ns) {
  const auto found = table_.find(key_of(vlan, mac));
  if (found == table_.end()) {
    return -1;
  }
  settle(found->second, now_ns);
  return found->second.known ? found->second.port : -1;
}

LearningSwitch::PortMask LearningSwitch::forward(size_t in, std::span<const uint8_t> frame,
                                                 int64_t now_ns) {
  ++counts_.frames;
  if (frame.size() < kHeader) {
    ++counts_.runts;
    return 0;
  }
  const uint16_t vlan = vlan_of(frame);
  if (habits_.vlans.any() && !habits_.vlans.test(vlan)) {
    ++counts_.vlan_dropped;
    return 0;
  }
  if (habits_.drop_announcements && is_announcement(frame)) {
    ++counts_.announcement_dropped;
    return 0;
  }
  if ((frame[6] & 1) == 0) {
    learn(in, key_of(vlan, number(frame, 6, 6)), now_ns);
  }
  const PortMask others = ((PortMask{1} << ports_) - 1) & ~(PortMask{1} << in);
  if ((frame[0] & 1) != 0) {
    ++counts_.groups;
    return others;
  }
  const int port = where(vlan, number(frame, 0, 6), now_ns);
  if (port == static_cast<int>(in)) {
    ++counts_.hairpin_dropped;
    return 0;
  }
  if (port >= 0) {
    ++counts_.known;
    return PortMask{1} << port;
  }
  if (habits_.never_flood) {
    ++counts_.unknown_dropped;
    return 0;
  }
  ++counts_.flooded;
  return others;
}

}  // namespace godwit::learning_switch
