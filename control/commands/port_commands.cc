// SPDX-License-Identifier: Apache-2.0
//
// `port`: ports appear after their policy and disappear before it. A port is opened while the
// endpoint's transaction is open, and polled from the commit that binds it. A commit unbinds it
// before it is closed.
#include <algorithm>

#include "control/commands/command_context.h"
#include "control/commands/command_refusal.h"
#include "control/commands/handlers.h"
#include "control/commands/parameters.h"
#include "control/commands/profile_options.h"
#include "control/commands/word_reader.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/journal/journal.h"
#include "migration/journal/policy_record.h"

namespace godwit::control {
namespace {

using dataplane::EndpointKind;
using dataplane::EndpointRecord;
using dataplane::LocationKind;
using dataplane::Profile;
using dataplane::Transaction;

// Returns the endpoint's profile with the changes of the parameters. An unknown endpoint starts
// with a new profile.
Profile profile_for(const CommandContext& context, const std::string& name, EndpointKind kind,
                    const Parameters& params) {
  take(dataplane::check_endpoint_name(name));
  Profile profile;
  profile.name = name;
  profile.kind = kind;
  if (const EndpointRecord* known = context.store.find(name)) {
    if (known->port.valid())
      refuse(name + " already has port " + std::to_string(known->port.value), name);
    if (known->profile.kind != kind) {
      refuse(name + (kind == EndpointKind::kUplink ? " is a VM's endpoint" : " is an uplink"),
             name);
    }
    profile = known->profile;
  }
  change_profile(params, profile);
  return profile;
}

template <typename OpenPort>
Json attach(CommandContext& context, const Profile& profile, const OpenPort& open_port) {
  refuse_if_moving(context, profile.name);
  Transaction transaction(context.store);
  const EndpointRecord* known = context.store.find(profile.name);
  EndpointId id;
  if (known == nullptr || known->implicit) {
    id = take(transaction.add_endpoint(profile,
                                       known == nullptr ? dataplane::Location{} : known->location));
  } else {
    id = known->id;
    take(transaction.set_profile(id, profile));
  }
  const PortId port = take(open_port());
  dataplane::Location here;
  here.kind = LocationKind::kPort;
  here.port = port;
  Result<void> bound = transaction.bind_port(id, port);
  if (bound) bound = transaction.set_location(id, here);
  if (bound) bound = transaction.set_active(id, true);
  if (!bound) {
    (void)context.ports.remove(port);
    refuse(bound.error());
  }
  try {
    commit(context, transaction, [&](migration::JournalBatch& batch) {
      batch.endpoints.push_back(
          migration::stored_endpoint(context.store, context.ports, *context.store.endpoint(id)));
    });
  } catch (CommandRefusal&) {
    (void)context.ports.remove(port);
    throw;
  }
  return {{"port", port.value}, {"name", profile.name}, {"ports", context.ports.list().size()}};
}

std::string attached_text(const Json& data) {
  return "Port " + std::to_string(data.at("port").get<unsigned>()) +
         " is attached. Now total ports is " + std::to_string(data.at("ports").get<size_t>()) +
         "\n";
}

// Reads "socket=/run/vm1.sock,mode=server,mac=..". Each part has its own column.
void read_vhost_options(const Token& word, Json& params) {
  const std::string expected = "socket=PATH, mode=client or mode=server; or one of " +
                               std::string(kProfileOptions) + " and =VALUE";
  size_t at = 0;
  while (at <= word.text.size()) {
    const size_t comma = std::min(word.text.find(',', at), word.text.size());
    const Token option = WordReader::part(word, at, comma - at);
    const size_t equals = option.text.find('=');
    if (equals == std::string_view::npos) WordReader::wrong(option, "not an option", expected);
    const std::string_view key = option.text.substr(0, equals);
    const Token value = WordReader::part(option, equals + 1);
    if (key == "socket" || key == "mode") {
      params[std::string(key)] = value.text;
    } else if (!put_profile_option(params, key, value)) {
      WordReader::wrong(option, "not an option", expected);
    }
    at = comma + 1;
  }
}

}  // namespace

Json read_port_attach_vhost(WordReader& words) {
  Json params{{"name", words.text("the endpoint's name")}};
  read_vhost_options(words.next("socket=PATH[,mode=server][,mac=..]..."), params);
  words.end();
  return params;
}

Json port_attach_vhost(CommandContext& context, const Json& json) {
  const Parameters params(
      json, {"name", "socket", "mode", "macs", "ips", "vlans", "mtu", "queues", "miss"});
  const Profile profile = profile_for(context, params.text("name"), EndpointKind::kVm, params);
  dataplane::VhostPortSpec spec;
  spec.name = profile.name;
  spec.socket_path = params.text("socket");
  const std::string mode = params.text_or("mode", "client");
  if (mode != "client" && mode != "server") refuse("bad mode", printable(mode), "client or server");
  if (spec.socket_path.find('\0') != std::string::npos)
    refuse("the socket's path contains a zero byte");
  spec.server = mode == "server";
  spec.queue_pairs = profile.queues;
  spec.mtu = profile.mtu;
  return attach(context, profile, [&] { return context.ports.add_vhost(spec); });
}
std::string print_port_attach_vhost(const Json& data, const Json&) { return attached_text(data); }

Json read_port_attach_ethdev(WordReader& words) {
  Json params{{"name", words.text("the uplink's name")}};
  params["devargs"] = words.text("devargs such as net_af_packet0,iface=eth1");
  if (words.more()) {
    const Token word = words.next("mtu=N");
    if (!word.text.starts_with("mtu=")) WordReader::wrong(word, "not an option", "mtu=N");
    params["mtu"] = WordReader::number(WordReader::part(word, 4), 9216);
  }
  words.end();
  return params;
}

Json port_attach_ethdev(CommandContext& context, const Json& json) {
  const Parameters params(json, {"name", "devargs", "mtu"});
  const Profile profile = profile_for(context, params.text("name"), EndpointKind::kUplink, params);
  const dataplane::EthdevPortSpec spec{profile.name, params.text("devargs"), profile.mtu};
  if (spec.devargs.empty() || spec.devargs.find('\0') != std::string::npos) refuse("bad devargs");
  return attach(context, profile, [&] { return context.ports.add_ethdev(spec); });
}
std::string print_port_attach_ethdev(const Json& data, const Json&) { return attached_text(data); }

Json port_detach(CommandContext& context, const Json& json) {
  const Parameters params(json, {"port"});
  const PortId port = find_port(context, params.port("port"));
  std::string name;
  if (const EndpointRecord* owner = context.store.by_port(port)) {
    name = owner->profile.name;
    refuse_if_moving(context, name);
    for (const EndpointRecord* other : context.store.endpoints()) {
      if (other->location.kind == LocationKind::kUplink && other->location.uplink == owner->id)
        refuse_if_moving(context, other->profile.name);
    }
    Transaction transaction(context.store);
    take(transaction.set_active(owner->id, false));
    take(transaction.bind_port(owner->id, PortId{}));
    if (owner->location.kind == LocationKind::kPort) take(transaction.set_location(owner->id, {}));
    commit(context, transaction, [&](migration::JournalBatch& batch) {
      batch.endpoints.push_back(migration::stored_endpoint(context.store, context.ports, *owner));
    });
  }
  take(context.ports.remove(port));
  return {{"port", port.value}, {"name", name}, {"ports", context.ports.list().size()}};
}
std::string print_port_detach(const Json& data, const Json&) {
  return "Port " + std::to_string(data.at("port").get<unsigned>()) +
         " is detached\nNow total ports is " + std::to_string(data.at("ports").get<size_t>()) +
         "\n";
}

}  // namespace godwit::control
