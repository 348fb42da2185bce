// SPDX-License-Identifier: Apache-2.0
#include "control/commands/command_context.h"

#include <algorithm>

#include "base/text.h"
#include "control/commands/command_refusal.h"
#include "control/commands/parameters.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "migration/engine/engine.h"
#include "migration/journal/journal.h"

namespace godwit::control {
namespace {

constexpr const char* kPortExpected = "a port's number or an endpoint's name (`show endpoints`)";

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

[[noreturn]] void no_such_port(const std::string& port) {
  refuse("there is no port " + printable(port), printable(port), kPortExpected);
}

}  // namespace

void commit(const CommandContext& context, dataplane::Transaction& transaction,
            const std::function<void(migration::JournalBatch& batch)>& note) {
  if (context.journal != nullptr && context.journal->keeps_policy()) {
    migration::JournalBatch batch;
    note(batch);
    if (auto written = context.journal->write(batch); !written)
      refuse("cannot write to the state journal; nothing was changed: " + written.error().message);
  }
  transaction.commit();
}

const dataplane::EndpointRecord& find_endpoint(const CommandContext& context,
                                               const std::string& port) {
  if (!is_number(port)) {
    const dataplane::EndpointRecord* found = context.store.find(port);
    if (found == nullptr) refuse("no such endpoint", printable(port), kPortExpected);
    return *found;
  }
  const auto number = to_number(port, PortId{}.value - 1u);
  const dataplane::EndpointRecord* found =
      number ? context.store.by_port(PortId(static_cast<uint16_t>(*number))) : nullptr;
  if (found == nullptr) no_such_port(port);
  return *found;
}

PortId find_port(const CommandContext& context, const std::string& port) {
  if (is_number(port)) {
    const auto number = to_number(port, PortId{}.value - 1u);
    if (!number || !context.ports.info(PortId(static_cast<uint16_t>(*number)))) no_such_port(port);
    return PortId(static_cast<uint16_t>(*number));
  }
  const dataplane::EndpointRecord& found = find_endpoint(context, port);
  if (!found.port.valid()) {
    refuse(found.profile.name + " has no port here", printable(port),
           "an endpoint with a port on this host (`show endpoints`)");
  }
  return found.port;
}

std::vector<dataplane::PortInfo> find_ports(const CommandContext& context,
                                            const Parameters& params) {
  const std::string port = params.has("port") ? params.port("port") : "all";
  if (port == "all") return context.ports.list();
  return {take(context.ports.info(find_port(context, port)))};
}

void refuse_if_moving(const CommandContext& context, std::string_view endpoint) {
  const std::string vm(dataplane::vm_of(endpoint));
  if (context.engine.moving(vm))
    refuse(vm + " is moving to or from another host", printable(endpoint),
           "an endpoint whose VM is not moving (`migrate status`)");
}

std::string location_text(const CommandContext& context, const dataplane::Location& location) {
  switch (location.kind) {
    case dataplane::LocationKind::kPort: return "port " + std::to_string(location.port.value);
    case dataplane::LocationKind::kUplink: {
      const dataplane::EndpointRecord* uplink = context.store.endpoint(location.uplink);
      return "uplink " + (uplink == nullptr ? std::string("?") : uplink->profile.name);
    }
    case dataplane::LocationKind::kParked: return "parked";
    case dataplane::LocationKind::kRedirect: return "redirect";
    case dataplane::LocationKind::kNone: break;
  }
  return "none";
}

}  // namespace godwit::control
