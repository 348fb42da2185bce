// SPDX-License-Identifier: Apache-2.0
//
// `flow`, with testpmd's syntax. A number in the place of an endpoint's name stands for the
// endpoint that owns that port now; the rule keeps the name.
#include <algorithm>

#include "control/commands/command_context.h"
#include "control/commands/command_refusal.h"
#include "control/commands/handlers.h"
#include "control/commands/parameters.h"
#include "control/commands/word_reader.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/rules/flow_command.h"
#include "migration/journal/journal.h"
#include "migration/journal/policy_record.h"

namespace godwit::control {
namespace {

using dataplane::FlowCommand;
using dataplane::FlowVerb;

// Returns where the endpoint is, for people: "vm7/net0 via physnet1" or "vm2/net0 at port 3".
std::string leads_to(const CommandContext& context, EndpointId output) {
  const dataplane::EndpointRecord* found = context.store.endpoint(output);
  if (found == nullptr) return "?";
  const std::string& name = found->profile.name;
  const dataplane::Location& location = found->location;
  switch (location.kind) {
    case dataplane::LocationKind::kPort:
      return name + " at port " + std::to_string(location.port.value);
    case dataplane::LocationKind::kUplink:
      // sizeof counts the blank of "uplink physnet1" in place of the final zero.
      return name + " via " + location_text(context, location).substr(sizeof "uplink");
    case dataplane::LocationKind::kParked: return name + " parked";
    case dataplane::LocationKind::kRedirect: return name + " redirected";
    case dataplane::LocationKind::kNone: break;
  }
  return name + " nowhere";
}

const char* direction_name(dataplane::Direction direction) {
  switch (direction) {
    case dataplane::Direction::kIngress: return "ingress";
    case dataplane::Direction::kEgress: return "egress";
    case dataplane::Direction::kTransfer: return "transfer";
    case dataplane::Direction::kInvalid: break;
  }
  return "?";
}

Json describe(const CommandContext& context, const dataplane::RuleRecord& record) {
  const dataplane::RuleAttributes& attributes = record.rule.attributes;
  const dataplane::Count count = context.store.count(record);
  Json outputs = Json::array();
  for (const EndpointId output : record.outputs) {
    const dataplane::EndpointRecord* found = context.store.endpoint(output);
    if (found == nullptr) continue;
    outputs.push_back({{"name", found->profile.name},
                       {"location", location_text(context, found->location)},
                       {"text", leads_to(context, output)}});
  }
  const std::string owner = context.store.endpoint(record.owner)->profile.name;
  return {{"id", record.id.value},
          {"group", attributes.group},
          {"priority", attributes.priority},
          {"direction", direction_name(attributes.direction)},
          {"text", "flow create " + owner + " " + dataplane::to_text(record.rule)},
          {"outputs", std::move(outputs)},
          {"packets", count.packets},
          {"bytes", count.bytes}};
}

std::vector<RuleId> rule_ids(const std::vector<uint64_t>& numbers) {
  std::vector<RuleId> out;
  for (const uint64_t number : numbers) out.push_back(RuleId(static_cast<uint32_t>(number)));
  return out;
}

// Returns the command that the parameters describe: either "text" has the rest of the line after
// the verb, or each part is a parameter of its own.
FlowCommand read_command(FlowVerb verb, const Json& json) {
  constexpr uint64_t kMostId = RuleId{}.value - 1u;
  const Parameters params(json, {"text", "port", "rules", "rule", "groups"});
  if (params.has("text")) {
    const std::string head = std::string(dataplane::verb_name(verb)) + " ";
    auto command = dataplane::parse_flow_command(head + params.text("text"));
    if (command) return std::move(*command);
    Error error = std::move(command).error();
    shift_column(error, -static_cast<int64_t>(head.size()), params.text("text").size() + 1);
    refuse(std::move(error));
  }
  if (verb == FlowVerb::kCreate || verb == FlowVerb::kValidate)
    Parameters::wrong("the parameter \"text\" is missing");
  FlowCommand command;
  command.verb = verb;
  command.port = params.port("port");
  if (params.has("rule"))
    command.rule_ids.push_back(static_cast<uint32_t>(params.number("rule", 0, kMostId)));
  if (params.has("rules")) {
    for (const RuleId id : rule_ids(params.numbers("rules", kMostId)))
      command.rule_ids.push_back(id.value);
  }
  if (params.has("groups")) {
    for (const uint64_t group : params.numbers("groups", UINT32_MAX))
      command.groups.push_back(static_cast<uint32_t>(group));
  }
  if (verb == FlowVerb::kDestroy && command.rule_ids.empty())
    Parameters::wrong("the parameter \"rules\" is missing");
  if (verb == FlowVerb::kQuery && command.rule_ids.size() != 1)
    Parameters::wrong("the parameter \"rule\" must name one rule");
  return command;
}

const dataplane::RuleRecord& find_rule(const CommandContext& context,
                                       const dataplane::EndpointRecord& owner, uint32_t id) {
  const dataplane::RuleRecord* found = context.store.rule(owner.id, RuleId(id));
  if (found == nullptr)
    refuse("no rule " + std::to_string(id) + " of " + owner.profile.name, std::to_string(id),
           "a rule of `flow list " + owner.profile.name + "`");
  return *found;
}

// Checks the rule. Creates it unless the verb is `validate`.
Json make_rule(CommandContext& context, FlowVerb verb, const Json& params) {
  FlowCommand command = read_command(verb, params);
  const dataplane::EndpointRecord& owner = find_endpoint(context, command.port);
  dataplane::for_each_endpoint_name(
      command.rule, [&](std::string& name) { name = find_endpoint(context, name).profile.name; });
  dataplane::Transaction transaction(context.store);
  const RuleId id = take(transaction.create_rule(owner.id, command.rule));
  Json data{{"port", owner.profile.name}};
  if (verb == FlowVerb::kValidate) return data;
  commit(context, transaction, [&](migration::JournalBatch& batch) {
    batch.created.push_back(
        migration::stored_rule(context.store, *context.store.rule(owner.id, id)));
  });
  data["id"] = id.value;
  return data;
}

Json list_rules(const CommandContext& context, const dataplane::EndpointRecord& owner,
                const FlowCommand& command) {
  Json rules = Json::array();
  const auto wanted = [](const std::vector<uint32_t>& list, uint32_t value) {
    return list.empty() || std::ranges::find(list, value) != list.end();
  };
  for (const uint32_t id : command.rule_ids) find_rule(context, owner, id);
  for (const auto& [id, record] : owner.rules) {
    if (wanted(command.groups, record->rule.attributes.group) && wanted(command.rule_ids, id))
      rules.push_back(describe(context, *record));
  }
  Json data{{"name", owner.profile.name}, {"rules", std::move(rules)}};
  if (owner.port.valid()) data["port"] = owner.port.value;
  return data;
}

std::string outputs_text(const Json& rule) {
  std::string out;
  for (const Json& output : rule.at("outputs"))
    out += (out.empty() ? "" : ", ") + output.at("text").get<std::string>();
  return out;
}

}  // namespace

Json read_flow(WordReader& words) { return {{"text", words.rest()}}; }

Json flow_validate(CommandContext& context, const Json& params) {
  return make_rule(context, FlowVerb::kValidate, params);
}
std::string print_flow_validate(const Json&, const Json&) { return "Flow rule validated\n"; }

Json flow_create(CommandContext& context, const Json& params) {
  return make_rule(context, FlowVerb::kCreate, params);
}
std::string print_flow_create(const Json& data, const Json&) {
  return "Flow rule #" + std::to_string(data.at("id").get<uint32_t>()) + " created\n";
}

Json flow_destroy(CommandContext& context, const Json& params) {
  const FlowCommand command = read_command(FlowVerb::kDestroy, params);
  const dataplane::EndpointRecord& owner = find_endpoint(context, command.port);
  dataplane::Transaction transaction(context.store);
  for (const uint32_t id : command.rule_ids) {
    find_rule(context, owner, id);
    auto destroyed = transaction.destroy_rule(owner.id, RuleId(id));
    if (!destroyed) refuse(destroyed.error().message, std::to_string(id));
  }
  commit(context, transaction, [&](migration::JournalBatch& batch) {
    for (const uint32_t id : command.rule_ids) batch.destroyed.emplace_back(owner.profile.name, id);
  });
  return {{"port", owner.profile.name}, {"rules", command.rule_ids}};
}
std::string print_flow_destroy(const Json& data, const Json&) {
  std::string out;
  for (const Json& id : data.at("rules"))
    out += "Flow rule #" + std::to_string(id.get<uint32_t>()) + " destroyed\n";
  return out;
}

Json flow_flush(CommandContext& context, const Json& params) {
  const FlowCommand command = read_command(FlowVerb::kFlush, params);
  const dataplane::EndpointRecord& owner = find_endpoint(context, command.port);
  std::vector<uint32_t> ids;
  for (const auto& [id, record] : owner.rules) ids.push_back(id);
  dataplane::Transaction transaction(context.store);
  for (const uint32_t id : ids) take(transaction.destroy_rule(owner.id, RuleId(id)));
  if (ids.empty()) return {{"port", owner.profile.name}, {"destroyed", 0}};
  commit(context, transaction, [&](migration::JournalBatch& batch) {
    for (const uint32_t id : ids) batch.destroyed.emplace_back(owner.profile.name, id);
  });
  return {{"port", owner.profile.name}, {"destroyed", ids.size()}};
}
std::string print_flow_flush(const Json& data, const Json&) {
  const auto count = data.at("destroyed").get<size_t>();
  return std::to_string(count) + (count == 1 ? " flow rule" : " flow rules") + " destroyed\n";
}

Json flow_query(CommandContext& context, const Json& params) {
  const FlowCommand command = read_command(FlowVerb::kQuery, params);
  const dataplane::EndpointRecord& owner = find_endpoint(context, command.port);
  const dataplane::Count count =
      context.store.count(find_rule(context, owner, command.rule_ids.front()));
  return {{"port", owner.profile.name},
          {"rule", command.rule_ids.front()},
          {"packets", count.packets},
          {"bytes", count.bytes}};
}
std::string print_flow_query(const Json& data, const Json&) {
  return "COUNT:\n hits_set: 1\n bytes_set: 1\n hits: " +
         std::to_string(data.at("packets").get<uint64_t>()) +
         "\n bytes: " + std::to_string(data.at("bytes").get<uint64_t>()) + "\n";
}

Json flow_list(CommandContext& context, const Json& params) {
  const FlowCommand command = read_command(FlowVerb::kList, params);
  return list_rules(context, find_endpoint(context, command.port), command);
}
std::string print_flow_list(const Json& data, const Json&) {
  std::string out;
  for (const Json& rule : data.at("rules")) {
    const std::string outputs = outputs_text(rule);
    out += rule.at("text").get_ref<const std::string&>() + " # rule " +
           std::to_string(rule.at("id").get<uint32_t>()) + (outputs.empty() ? "" : ": " + outputs) +
           "\n";
  }
  return out;
}

Json flow_dump(CommandContext& context, const Json& params) {
  const FlowCommand command = read_command(FlowVerb::kDump, params);
  if (!command.file.empty()) {
    refuse("the daemon does not write files for its clients", printable(command.file),
           "the end of the line; redirect the output to a file");
  }
  const dataplane::EndpointRecord& owner = find_endpoint(context, command.port);
  Json data = list_rules(context, owner, command);
  for (Json& rule : data.at("rules")) {
    const dataplane::RuleRecord& record = find_rule(context, owner, rule.at("id").get<uint32_t>());
    const dataplane::EndpointRecord* inside = context.store.endpoint(record.inside);
    rule["sequence"] = record.entry->order.sequence;
    rule["inside"] = inside == nullptr ? Json() : Json(inside->profile.name);
  }
  return data;
}
std::string print_flow_dump(const Json& data, const Json&) {
  std::string out;
  for (const Json& rule : data.at("rules")) {
    const auto number = [&](const char* name) {
      return std::to_string(rule.at(name).get<uint64_t>());
    };
    const Json& inside = rule.at("inside");
    const std::string outputs = outputs_text(rule);
    out += rule.at("text").get_ref<const std::string&>() + "\n# rule " + number("id") +
           ", in the table of " + (inside.is_null() ? "the switch" : inside.get<std::string>()) +
           ", sequence " + number("sequence") + ", hits " + number("packets") + ", bytes " +
           number("bytes") + (outputs.empty() ? "" : ", to " + outputs) + "\n";
  }
  return out;
}

}  // namespace godwit::control
