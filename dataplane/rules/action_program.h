// SPDX-License-Identifier: Apache-2.0
//
// ActionProgram: the compiled actions of a rule, in the order written, with names resolved to ids
// and arguments checked.
//
// The semantics are rte_flow's. Actions run in order. `jump`, `drop`, outputs and `normal` decide
// the fate of the packet; `passthru` continues with the next matching rule. Each of several outputs
// gets the packet as it is at that point.
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
  kJump,    // to group `number`
  kOutput,  // to `endpoint`
  kNormal,
  kMark,  // number
  kCount,
  // Rewrites. All codes from here on change the packet.
  kPushVlan,  // number: the TPID
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

// Returns whether the op decides where a packet goes or changes it.
[[nodiscard]] constexpr bool decides(OpCode code) {
  return code == OpCode::kDrop || code == OpCode::kJump || code == OpCode::kOutput ||
         code == OpCode::kNormal || code == OpCode::kPassthru || is_rewrite(code);
}

struct ActionProgram {
  std::vector<Op> ops;

  // A short form of common programs: counts and marks, then at most one fate. If `plain` is set, it
  // says everything that `ops` does. The fate is then kDrop, kJump (number), kOutput (endpoint),
  // kNormal, kPassthru, or kInvalid, with which the next rule decides.
  bool plain = false;
  OpCode fate = OpCode::kInvalid;
  bool marks = false;
  uint32_t mark = 0;
  uint32_t number = 0;
  EndpointId endpoint;

  // Computes the short form from `ops`.
  void find_plain();
};

using EndpointResolver = std::function<Result<EndpointId>(std::string_view name)>;

// Compiles the actions of a rule. Returns an error for more than 64 actions, for values out of
// range (VID above 4094, PCP above 7, an unknown TPID), for an endpoint that resolve() refuses, for
// actions after `drop`, `jump` or `passthru`, and for a `jump` to the rule's own group or a lower
// one, which could loop. set_ipv4_src in a rule without item ipv4 is allowed; it depends on the
// packet.
Result<ActionProgram> compile_actions(const Rule& rule, const EndpointResolver& resolve);

}  // namespace godwit::dataplane
