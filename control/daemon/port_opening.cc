// SPDX-License-Identifier: Apache-2.0
#include "control/daemon/port_opening.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace godwit::control {
namespace {

// Opens a port and binds it. Returns the error of the step that failed, behind the endpoint's name.
template <typename Open, typename Bind>
Result<void> open_and_bind(const std::string& name, const Open& open, const Bind& bind) {
  const Result<PortId> port = open();
  if (!port) return fail(name + ": " + port.error().message);
  if (auto bound = bind(*port); !bound) return fail(name + ": " + bound.error().message);
  return {};
}

}  // namespace

Result<void> PortOpening::bind(const std::string& endpoint, PortId port) {
  dataplane::Transaction transaction(store_);
  const EndpointId id = store_.find(endpoint)->id;
  dataplane::Location here;
  here.kind = dataplane::LocationKind::kPort;
  here.port = port;
  Result<void> done = transaction.bind_port(id, port);
  if (done) done = transaction.set_location(id, here);
  if (done) done = transaction.set_active(id, true);
  if (done) transaction.commit();
  return done;
}

Result<void> PortOpening::open_uplinks() {
  for (const UplinkConfig& uplink : config_.uplinks) {
    const auto opened = open_and_bind(
        uplink.name,
        [&] {
          return ports_.add_ethdev({uplink.name, uplink.devargs, uplink.mtu});
        },
        [&](PortId port) { return bind(uplink.name, port); });
    if (!opened) return fail(error_at(uplink.place, opened.error().message));
  }
  return {};
}

Result<void> PortOpening::open_configured() {
  for (const EndpointConfig& endpoint : config_.endpoints) {
    if (!endpoint.vhost) continue;
    const dataplane::Profile& profile = endpoint.profile;
    const VhostConfig& vhost = *endpoint.vhost;
    const auto opened = open_and_bind(
        profile.name,
        [&] {
          return ports_.add_vhost(
              {profile.name, vhost.socket, vhost.server, profile.queues, profile.mtu});
        },
        [&](PortId port) { return bind(profile.name, port); });
    if (!opened) return fail(error_at(endpoint.place, opened.error().message));
  }
  return {};
}

Result<void> PortOpening::open_stored(const migration::StoredEndpoint& endpoint, bool held) {
  const dataplane::Profile& profile = endpoint.profile;
  return open_and_bind(
      profile.name,
      [&] {
        return endpoint.socket.empty()
                   ? ports_.add_ethdev({profile.name, endpoint.devargs, profile.mtu})
                   : ports_.add_vhost({profile.name, endpoint.socket, endpoint.server,
                                       profile.queues, profile.mtu});
      },
      [&](PortId port) {
        return migration::bind_restored(store_, profile.name, port, held, endpoint.elsewhere);
      });
}

Result<void> PortOpening::open_stored(const StoredPorts& stored) {
  for (const migration::StoredEndpoint& endpoint : stored.endpoints) {
    if (endpoint.socket.empty() && endpoint.devargs.empty()) continue;
    const std::string& name = endpoint.profile.name;
    if (stored.incomplete.contains(name)) continue;  // a note of the start says so
    const bool held = stored.held_vms.contains(std::string(dataplane::vm_of(name)));
    const auto opened = open_stored(endpoint, held);
    if (opened) continue;
    const auto configured = std::ranges::find(
        config_.endpoints, name, [](const EndpointConfig& one) { return one.profile.name; });
    if (configured != config_.endpoints.end())
      return fail(error_at(configured->place, opened.error().message));
    spdlog::warn("state {}: {}: the endpoint has no port", config_.state.directory,
                 opened.error().message);
  }
  return {};
}

}  // namespace godwit::control
