// SPDX-License-Identifier: Apache-2.0
//
// Drop: the reasons for which the switch drops a packet. Each reason has a counter for each port
// and each worker; `show port stats` and `show drops` show them. A packet that is neither delivered
// nor counted here is a defect. To add a reason, add a row to the table below.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace godwit::dataplane {

// X(name, meaning)
#define GODWIT_DROP_REASONS(X)                                                                 \
  X(malformed_eth, "the frame is shorter than its Ethernet or VLAN headers")                   \
  X(malformed_arp, "the ARP header is truncated or has invalid lengths")                       \
  X(malformed_ipv4, "the IPv4 header is truncated, or its version, length or checksum is bad") \
  X(malformed_ipv6, "the IPv6 or extension headers are truncated or too many")                 \
  X(malformed_l4, "a TCP, UDP, ICMP, SCTP or VXLAN header is truncated or has a bad length")   \
  X(bad_offload, "a guest's checksum request points outside the frame")                        \
  X(rule_drop, "a rule's action `drop`")                                                       \
  X(egress_rule_drop, "action `drop` of an egress rule of the receiver")                       \
  X(no_rule, "no rule matched and the profile's miss policy is drop")                          \
  X(no_egress_rule, "the receiver has egress rules and none matched")                          \
  X(group_loop, "the packet made too many jumps between groups")                               \
  X(no_location, "the receiver has no location: neither a port nor an uplink")                 \
  X(not_active, "the endpoint's policy is not in place yet")                                   \
  X(own_echo, "the packet would return to its sender or to the owner of its source MAC")       \
  X(uplink_to_uplink, "the packet came from an uplink and would leave by one")                 \
  X(vlan_not_allowed, "the endpoint does not have the packet's VLAN")                          \
  X(spoofed_group_source, "the source MAC is a group address")                                 \
  X(no_receiver, "the frame is flooded and there is no other endpoint")                        \
  X(ttl_exceeded, "action `dec_ttl` with no hop left")                                         \
  X(rewrite_impossible, "an action needs a header or headroom that the packet does not have")  \
  X(too_big, "the packet is longer than the output port's MTU")                                \
  X(no_mbuf, "no buffer was free for a copy")                                                  \
  X(park_overflow, "the park of the receiver is full")                                         \
  X(park_expired, "the endpoint of a parked packet was removed")                               \
  X(redirect_closed, "the session or the move of a redirected packet has ended")               \
  X(redirect_duplicate, "the second copy of a flooded frame during a move")                    \
  X(redirect_stale, "a redirected packet of an epoch that is not the newest")                  \
  X(tx_ring_full, "the ring to the worker that owns the output queue is full")                 \
  X(tx_queue_full, "the guest or the device did not take the packet in time")                  \
  X(tx_down, "no device is connected to the output port")

enum class Drop : uint8_t {
#define GODWIT_DROP_ENUM(name, text) k_##name,
  GODWIT_DROP_REASONS(GODWIT_DROP_ENUM)
#undef GODWIT_DROP_ENUM
      kCount
};

inline constexpr size_t kDropCount = static_cast<size_t>(Drop::kCount);

// Returns the name that commands and metrics show.
constexpr std::string_view drop_name(Drop drop) {
  constexpr std::string_view names[] = {
#define GODWIT_DROP_NAME(name, text) #name,
      GODWIT_DROP_REASONS(GODWIT_DROP_NAME)
#undef GODWIT_DROP_NAME
  };
  return names[static_cast<size_t>(drop)];
}

}  // namespace godwit::dataplane
