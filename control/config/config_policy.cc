// SPDX-License-Identifier: Apache-2.0
#include "control/config/config_policy.h"

#include "base/text.h"
#include "control/config/config_refusal.h"
#include "control/config/scratch_store.h"
#include "dataplane/rules/flow_command.h"

namespace godwit::control {
namespace {

void add_uplinks(const HostConfig& config, dataplane::Transaction& transaction) {
  for (const UplinkConfig& uplink : config.uplinks) {
    dataplane::Profile profile;
    profile.name = uplink.name;
    profile.kind = dataplane::EndpointKind::kUplink;
    profile.mtu = uplink.mtu;
    if (auto added = transaction.add_endpoint(profile, {}); !added)
      refuse_at(uplink.place, added.error().message, added.error().expected);
  }
}

// The reader has checked that the endpoints' uplinks exist.
void add_endpoints(const HostConfig& config, dataplane::Transaction& transaction,
                   const dataplane::PolicyStore& store) {
  for (const EndpointConfig& endpoint : config.endpoints) {
    dataplane::Location location;
    if (!endpoint.uplink.empty()) {
      location.kind = dataplane::LocationKind::kUplink;
      location.uplink = store.find(endpoint.uplink)->id;
    }
    if (auto added = transaction.add_endpoint(endpoint.profile, location); !added)
      refuse_at(endpoint.place, added.error().message, added.error().expected);
  }
}

// Throws a ConfigRefusal for an error in the rule's text. Its place is that of the faulty word in
// the file.
[[noreturn]] void refuse_rule(const RuleConfig& rule, const Error& error) {
  Place place = rule.place;
  uint32_t column = error.column;
  if (column == 0 && !error.token.empty()) column = column_of(rule.text, error.token);
  if (column > 0) place.column += column - 1;
  const std::string token = error.token.empty() ? "" : ": `" + error.token + "`";
  refuse_at(place, error.message + token, error.expected);
}

void create_rule(const RuleConfig& config, dataplane::Transaction& transaction,
                 const dataplane::PolicyStore& store) {
  const auto command = dataplane::parse_flow_command(config.text);
  if (!command) refuse_rule(config, command.error());
  if (command->verb != dataplane::FlowVerb::kCreate)
    refuse_at(config.place, "not a rule", "a line `flow create ...`");
  // Returns the endpoint of this name, or throws.
  const auto find = [&](const std::string& name) {
    const dataplane::EndpointRecord* found = store.find(name);
    if (found == nullptr)
      refuse_rule(config, Error{"no such endpoint", 0, 0, name,
                                "the name of an endpoint or uplink of this file"});
    return found;
  };
  const dataplane::EndpointRecord* owner = find(command->port);
  // Checks the names first, because the transaction's error would name `show endpoints`.
  dataplane::for_each_endpoint_name(command->rule, [&](const std::string& name) { find(name); });
  if (auto made = transaction.create_rule(owner->id, command->rule); !made)
    refuse_rule(config, made.error());
}

}  // namespace

Result<void> put_policy(const HostConfig& config, dataplane::PolicyStore& store) {
  try {
    dataplane::Transaction transaction(store);
    add_uplinks(config, transaction);
    add_endpoints(config, transaction, store);
    for (const RuleConfig& rule : config.rules) create_rule(rule, transaction, store);
    transaction.commit();
    return {};
  } catch (ConfigRefusal& refusal) {
    return fail(std::move(refusal.error));
  }
}

Result<void> put_uplinks(const HostConfig& config, dataplane::PolicyStore& store) {
  try {
    dataplane::Transaction transaction(store);
    add_uplinks(config, transaction);
    transaction.commit();
    return {};
  } catch (ConfigRefusal& refusal) {
    return fail(std::move(refusal.error));
  }
}

Result<void> check_policy(const HostConfig& config) {
  ScratchStore scratch;
  return put_policy(config, scratch.store);
}

}  // namespace godwit::control
