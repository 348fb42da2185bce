// SPDX-License-Identifier: Apache-2.0
//
// The records of the policy store: what an endpoint is, the rules it owns, and the tables in which
// rules live.
//
// Every reference between records is an id or a pointer that the store keeps valid. Callers outside
// dataplane/policy/ read records and never change them.
//
// Thread safety: the control thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/ids.h"
#include "base/net.h"
#include "base/result.h"
#include "dataplane/rules/rule.h"
#include "dataplane/state/counter_bank.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

// Checks that the name is a letter followed by letters, digits and ._/- , of at most
// kMaxEndpointName bytes in all.
Result<void> check_endpoint_name(std::string_view name);
// Returns the VM's part of an endpoint name: "vm7" of "vm7/net0". A name without '/' is returned
// whole.
[[nodiscard]] std::string_view vm_of(std::string_view endpoint_name);

// The properties of an endpoint that do not depend on its location.
struct Profile {
  std::string name;
  EndpointKind kind = EndpointKind::kVm;
  std::vector<MacAddress> macs;
  std::vector<Ipv4Address> ipv4s;
  std::vector<Ipv6Address> ipv6s;
  std::vector<uint16_t> vlans;  // allowed VLANs, 0 for untagged frames; empty allows all
  uint16_t mtu = 1500;
  uint16_t queues = 1;
  uint64_t features = 0;  // virtio features that the guest's driver negotiated; 0 if not known
  MissPolicy miss = MissPolicy::kNormal;
  bool operator==(const Profile&) const = default;
};

struct RuleRecord {
  EndpointId owner;
  RuleId id;
  Rule rule;
  std::vector<EndpointId> outputs;  // endpoints that its actions send to
  EndpointId origin;                // transfer rules: the origin that the pattern names, if any
  EndpointId inside;                // the endpoint whose tables hold it; invalid for the shared one
  RuleTable* table = nullptr;       // holds `entry`
  bool staged = false;              // part of a DetachedPolicy: built, not in force
  std::unique_ptr<RuleEntry> entry;
};

// A rule to build. The owner is given by name. The owner's rules keep the id given here; rules of
// other owners get a new id when they are attached.
struct RuleSpec {
  std::string owner;
  RuleId id;
  Rule rule;
};

// The rules of one direction of an endpoint. A table without live rules is not published: an
// endpoint without an egress table receives everything, while an egress table that no packet
// matches drops everything.
struct LiveTable {
  std::unique_ptr<RuleTable> table;
  size_t live = 0;  // rules that the next published state shows
};

// The tables of one endpoint.
struct EndpointTables {
  LiveTable ingress;
  LiveTable egress;
  LiveTable transfer;
  [[nodiscard]] LiveTable& of(Direction direction) {
    return direction == Direction::kIngress  ? ingress
           : direction == Direction::kEgress ? egress
                                             : transfer;
  }
};

struct EndpointRecord {
  EndpointId id;
  Profile profile;
  Location location;
  PortId port;  // the local port bound to it, also while its policy is staged; invalid if none
  bool active = false;
  bool implicit = false;  // exists only because rules name it; removed with the last such rule
  // If not empty, changes of its rules are refused with this reason. So are changes of uplink rules
  // whose outputs are all guarded.
  std::string guarded_by;
  std::map<uint32_t, RuleRecord*> rules;          // owned rules by RuleId
  std::unordered_set<const RuleRecord*> receive;  // its receive rules: rules that send to it
  std::unordered_set<const RuleRecord*> inside;   // rules that live in its tables
  uint32_t next_rule_id = 0;
  uint32_t pins = 0;         // references by detached policies
  uint32_t origin_uses = 0;  // transfer rules that name it as origin
  Count removed;             // sum of the counts of removed rules
  CounterId sent;
  CounterId received;
};

}  // namespace godwit::dataplane
