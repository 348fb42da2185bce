// SPDX-License-Identifier: Apache-2.0
//
// Every reason for which a packet ends here. Each is a counter for each port and each worker, shown
// by `show port stats`, `show drops` and the metrics. A packet that is neither delivered nor
// counted here is a defect.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace godwit::dataplane {

// X(name, what it means)
#define GODWIT_DROP_REASONS(X)                                                             \
  X(malformed_eth, "frame shorter than its Ethernet or VLAN headers")                      \
  X(malformed_arp, "ARP header cut short or of impossible lengths")                        \
  X(malformed_ipv4, "IPv4 header cut short, bad version, lengths or header checksum")      \
  X(malformed_ipv6, "IPv6 header or extension headers cut short or endless")               \
  X(malformed_l4, "TCP, UDP, ICMP or VXLAN header cut short or of impossible length")      \
  X(bad_offload, "a guest's checksum request points outside the frame")                    \
  X(rule_drop, "a rule's action `drop`")                                                   \
  X(egress_rule_drop, "a rule's action `drop` in the egress table of where it was going")  \
  X(no_rule, "no rule matched and the profile's miss policy is drop")                      \
  X(no_egress_rule, "the receiver has egress rules and none matched")                      \
  X(group_loop, "more jumps between groups than allowed")                                  \
  X(no_location, "the endpoint is nowhere: no port, no uplink")                            \
  X(not_active, "its policy is not in place yet")                                          \
  X(own_echo, "would go back to the owner of its source MAC or to its origin")             \
  X(uplink_to_uplink, "came from an uplink and would leave by one")                        \
  X(vlan_not_allowed, "VLAN is not among the endpoint's")                                  \
  X(spoofed_group_source, "source MAC is a group address")                                 \
  X(no_receiver, "flooded, but nobody else is there")                                      \
  X(ttl_exceeded, "dec_ttl found no hop left")                                             \
  X(rewrite_impossible, "an action needs a header that the packet does not have, or room") \
  X(too_big, "longer than the output port's MTU")                                          \
  X(no_mbuf, "no buffer was free for a copy")                                              \
  X(park_overflow, "the bounded park was full")                                            \
  X(park_expired, "parked, and its endpoint went away")                                    \
  X(redirect_closed, "redirected, and the session or the move that would take it is over") \
  X(redirect_duplicate, "second copy of a flooded frame during a move")                    \
  X(redirect_stale, "redirected packet of an epoch that is not the newest")                \
  X(tx_ring_full, "the worker that owns the output queue could not keep up")               \
  X(tx_queue_full, "the guest or the device did not take it in time")                      \
  X(tx_down, "the output port has no device connected")

enum class Drop : uint8_t {
#define GODWIT_DROP_ENUM(name, text) k_##name,
  GODWIT_DROP_REASONS(GODWIT_DROP_ENUM)
#undef GODWIT_DROP_ENUM
      kCount
};

inline constexpr size_t kDropCount = static_cast<size_t>(Drop::kCount);

// Name as printed; text for the reference page.
constexpr std::string_view drop_name(Drop drop) {
  constexpr std::string_view names[] = {
#define GODWIT_DROP_NAME(name, text) #name,
      GODWIT_DROP_REASONS(GODWIT_DROP_NAME)
#undef GODWIT_DROP_NAME
  };
  return names[static_cast<size_t>(drop)];
}

}  // namespace godwit::dataplane
