// SPDX-License-Identifier: Apache-2.0
//
// A rule's actions, compiled: names resolved to ids, arguments checked, in the order written.
//
// Semantics, from rte_flow: actions run in order; `jump`, `drop`, outputs and `normal` decide the
// packet's fate; `passthru` goes on with the next rule in order. Several outputs each get the
// packet as it is at that point.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "dataplane/rules/rule.h"

namespace godwit::dataplane {

enum class OpCode : uint8_t {
  kInvalid = 0,
  kDrop,
  kPassthru,
  kJump,    // number = group
  kOutput,  // endpoint
  kNormal,
  kMark,  // number
  kCount,
  // rewrites
  kPushVlan,  // number = TPID
  kPopVlan,
  kSetVlanVid,  // number
  kSetVlanPcp,  // number
  kSetMacSrc,   // value
  kSetMacDst,
  kMacSwap,
  kSetIpv4Src,
  kSetIpv4Dst,
  kSetIpv6Src,
  kSetIpv6Dst,
  kSetTpSrc,  // number
  kSetTpDst,
  kSetTtl,  // number
  kDecTtl,
};

struct Op {
  OpCode code = OpCode::kInvalid;
  uint32_t number = 0;
  EndpointId endpoint;
  FieldBytes value{};
};

[[nodiscard]] constexpr bool is_rewrite(OpCode code) { return code >= OpCode::kPushVlan; }

// Those that decide where a packet goes or what it looks like from then on.
[[nodiscard]] constexpr bool decides(OpCode code) {
  return code == OpCode::kDrop || code == OpCode::kJump || code == OpCode::kOutput ||
         code == OpCode::kNormal || code == OpCode::kPassthru || is_rewrite(code);
}

struct ActionProgram {
  std::vector<Op> ops;

  // The direct form of the common lists: counts and marks, then at most one fate. `plain` says that
  // this is all; the fate is then kDrop, kJump (number), kOutput (endpoint), kNormal, kPassthru, or
  // kInvalid: the next rule decides.
  bool plain = false;
  OpCode fate = OpCode::kInvalid;
  bool marks = false;
  uint32_t mark = 0;
  uint32_t number = 0;
  EndpointId endpoint;

  // Fills in the direct form from `ops`.
  void find_plain();
};

using EndpointResolver = std::function<Result<EndpointId>(std::string_view name)>;

// Refuses: more than 64 actions, values out of range (VID > 4094, PCP > 7, a TPID that is none), an
// endpoint that resolve() refuses, actions after a final `drop`, `jump` or `passthru`, `jump` to
// the rule's own group or a lower one (loops). set_ipv4 on a pattern without ipv4 is allowed: the
// packet decides.
Result<ActionProgram> compile_actions(const Rule& rule, const EndpointResolver& resolve);

}  // namespace godwit::dataplane
