// SPDX-License-Identifier: Apache-2.0
#include "dataplane/rules/action_program.h"

#include <string>

#include "dataplane/packet/headers.h"
#include "dataplane/rules/vocabulary.h"

namespace godwit::dataplane {

namespace {

Unexpected refuse(const ActionInfo& info, std::string message, std::string token,
                  std::string expected) {
  Error error;
  error.message = "action " + std::string(info.name) + ": " + std::move(message);
  error.token = std::move(token);
  error.expected = std::move(expected);
  return fail(std::move(error));
}

Result<void> check_number(const Op& op, const ActionInfo& info, const Rule& rule) {
  const std::string text = std::to_string(op.number);
  switch (op.code) {
    case OpCode::kSetVlanVid:
      // 4095 is reserved and never on the wire (IEEE 802.1Q, 9.6).
      if (op.number > 4094) return refuse(info, "no such VLAN", text, "0 to 4094");
      break;
    case OpCode::kSetVlanPcp:
      if (op.number > 7) return refuse(info, "no such priority code point", text, "0 to 7");
      break;
    case OpCode::kPushVlan:
      if (op.number != headers::kEtherTypeVlan && op.number != headers::kEtherTypeQinq) {
        return refuse(info, "not a VLAN's ethertype", text, "0x8100 or 0x88a8");
      }
      break;
    case OpCode::kJump:
      // Only to higher groups, so that no packet can loop.
      if (op.number <= rule.attributes.group) {
        return refuse(info, "a rule jumps to a higher group", text,
                      "a group above " + std::to_string(rule.attributes.group));
      }
      break;
    default: break;
  }
  return {};
}

}  // namespace

void ActionProgram::find_plain() {
  for (size_t i = 0; i < ops.size(); ++i) {
    const Op& op = ops[i];
    if (is_rewrite(op.code)) return;
    if (op.code == OpCode::kMark) {
      marks = true;
      mark = op.number;
    }
    if (!decides(op.code)) continue;
    for (size_t later = i + 1; later < ops.size(); ++later) {
      if (decides(ops[later].code)) return;
    }
    fate = op.code;
    number = op.number;
    endpoint = op.endpoint;
    break;
  }
  plain = true;
}

Result<ActionProgram> compile_actions(const Rule& rule, const EndpointResolver& resolve) {
  if (rule.actions.size() > kMaxActions) {
    return fail("a rule has at most " + std::to_string(kMaxActions) + " actions");
  }
  ActionProgram program;
  bool ended = false;
  for (const Action& action : rule.actions) {
    const ActionInfo& info = action_info(action.action);
    Op op;
    op.code = info.op;
    op.value = action.value;
    if (op.code == OpCode::kInvalid) continue;
    if (ended)
      return refuse(info, "never reached", std::string(info.name),
                    "nothing after drop, jump or passthru");
    if (info.format == Format::kEndpoint) {
      auto endpoint = resolve(action.endpoint);
      if (!endpoint) return fail(std::move(endpoint).error());
      op.endpoint = *endpoint;
    } else if (info.width > 0 && info.width <= 32) {
      op.number = static_cast<uint32_t>(value_number(action.value, info.width));
      if (auto good = check_number(op, info, rule); !good) return fail(std::move(good).error());
    }
    ended = op.code == OpCode::kDrop || op.code == OpCode::kJump || op.code == OpCode::kPassthru;
    program.ops.push_back(op);
  }
  program.find_plain();
  return program;
}

}  // namespace godwit::dataplane
