// SPDX-License-Identifier: Apache-2.0
//
// `endpoint`: endpoints without a port here, such as the VMs of other hosts, and their locations.
#include "control/commands/command_context.h"
#include "control/commands/command_refusal.h"
#include "control/commands/handlers.h"
#include "control/commands/parameters.h"
#include "control/commands/profile_options.h"
#include "control/commands/word_reader.h"
#include "dataplane/policy/policy_store.h"
#include "migration/journal/journal.h"
#include "migration/journal/policy_record.h"

namespace godwit::control {
namespace {

using dataplane::EndpointRecord;
using dataplane::Location;
using dataplane::LocationKind;

// `endpoint` is null if the endpoint is new.
Location read_location(const CommandContext& context, const std::string& text,
                       const EndpointRecord* endpoint) {
  Location location;
  if (text == "none") return location;
  if (text == "port") {
    if (endpoint == nullptr || !endpoint->port.valid())
      refuse("the endpoint has no port here (`port attach`)", text, "none or uplink:NAME");
    location.kind = LocationKind::kPort;
    location.port = endpoint->port;
    return location;
  }
  constexpr std::string_view kUplink = "uplink:";
  if (!text.starts_with(kUplink))
    refuse("not a location", printable(text), "port, none or uplink:NAME");
  const EndpointRecord* uplink = context.store.find(text.substr(kUplink.size()));
  if (uplink == nullptr || uplink->profile.kind != dataplane::EndpointKind::kUplink) {
    refuse("no such uplink", printable(text), "uplink: and an uplink's name (`show endpoints`)");
  }
  location.kind = LocationKind::kUplink;
  location.uplink = uplink->id;
  return location;
}

void read_options(WordReader& words, Json& params) {
  while (words.more()) {
    const std::string expected = "location, " + std::string(kProfileOptions);
    const Token key = words.next(expected);
    if (key.text == "location") {
      params["location"] = words.text("port, none or uplink:NAME");
      continue;
    }
    if (!is_profile_option(key.text)) WordReader::wrong(key, "not an option", expected);
    put_profile_option(params, key.text, words.next("a value for " + std::string(key.text)));
  }
}

}  // namespace

Json read_endpoint_add(WordReader& words) {
  Json params{{"name", words.text("the endpoint's name")}};
  read_options(words, params);
  return params;
}

Json endpoint_add(CommandContext& context, const Json& json) {
  const Parameters params(json,
                          {"name", "location", "macs", "ips", "vlans", "mtu", "queues", "miss"});
  dataplane::Profile profile;
  profile.name = params.text("name");
  profile.kind = dataplane::EndpointKind::kVm;
  take(dataplane::check_endpoint_name(profile.name));
  refuse_if_moving(context, profile.name);
  change_profile(params, profile);
  const EndpointRecord* known = context.store.find(profile.name);
  if (known != nullptr && !known->implicit)
    refuse("endpoint " + profile.name + " already exists", profile.name,
           "a new name, or `endpoint set`");
  const Location location = read_location(context, params.text_or("location", "none"), known);
  dataplane::Transaction transaction(context.store);
  const EndpointId id = take(transaction.add_endpoint(profile, location));
  commit(context, transaction, [&](migration::JournalBatch& batch) {
    batch.endpoints.push_back(
        migration::stored_endpoint(context.store, context.ports, *context.store.endpoint(id)));
  });
  return {{"name", profile.name}, {"location", location_text(context, location)}};
}
std::string print_endpoint_add(const Json& data, const Json&) {
  return "Endpoint " + data.at("name").get<std::string>() +
         " added: " + data.at("location").get<std::string>() + "\n";
}

Json endpoint_set(CommandContext& context, const Json& json) {
  const Parameters params(json,
                          {"name", "location", "macs", "ips", "vlans", "mtu", "queues", "miss"});
  if (json.size() < 2)
    Parameters::wrong("there is nothing to set: location, macs, ips, vlans, mtu, queues or miss");
  const EndpointRecord& known = find_endpoint(context, params.port("name"));
  refuse_if_moving(context, known.profile.name);
  dataplane::Profile profile = known.profile;
  change_profile(params, profile);
  if (known.port.valid() &&
      (profile.mtu != known.profile.mtu || profile.queues != known.profile.queues)) {
    refuse("the mtu and queues of a port cannot be changed: detach the port first");
  }
  dataplane::Transaction transaction(context.store);
  take(transaction.set_profile(known.id, profile));
  if (params.has("location")) {
    take(transaction.set_location(known.id,
                                  read_location(context, params.text("location"), &known)));
  }
  commit(context, transaction, [&](migration::JournalBatch& batch) {
    batch.endpoints.push_back(migration::stored_endpoint(context.store, context.ports, known));
  });
  return {{"name", profile.name}, {"location", location_text(context, known.location)}};
}
std::string print_endpoint_set(const Json& data, const Json&) {
  return "Endpoint " + data.at("name").get<std::string>() + ": " +
         data.at("location").get<std::string>() + "\n";
}

Json read_endpoint_del(WordReader& words) {
  Json params{{"name", words.text("the endpoint's name")}};
  words.end();
  return params;
}

Json endpoint_del(CommandContext& context, const Json& json) {
  const Parameters params(json, {"name"});
  const EndpointRecord& known = find_endpoint(context, params.port("name"));
  const std::string name = known.profile.name;
  refuse_if_moving(context, name);
  dataplane::Transaction transaction(context.store);
  take(transaction.remove_endpoint(known.id));
  commit(context, transaction, [&](migration::JournalBatch& batch) { batch.gone.push_back(name); });
  return {{"name", name}};
}
std::string print_endpoint_del(const Json& data, const Json&) {
  return "Endpoint " + data.at("name").get<std::string>() + " deleted\n";
}

}  // namespace godwit::control
