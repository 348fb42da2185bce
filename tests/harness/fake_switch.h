// SPDX-License-Identifier: Apache-2.0
//
// A switch without workers for tests of control and migration. It has a real policy store, ports
// that the test makes and stops, and a packet gate that records its calls.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "dataplane/packet_gate.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "dataplane/rules/flow_command.h"

namespace godwit::testing {

class FakePorts final : public dataplane::Ports {
 public:
  Result<PortId> add_vhost(const dataplane::VhostPortSpec& spec) override {
    for (const auto& [id, info] : ports) {
      if (info.detail == spec.socket_path)
        return fail("socket " + spec.socket_path + " is taken by " + info.name);
    }
    auto made = add(spec.name, dataplane::PortKind::kVhost, spec.socket_path, spec.mtu);
    if (made) ports[made->value].server = spec.server;
    return made;
  }
  Result<PortId> add_ethdev(const dataplane::EthdevPortSpec& spec) override {
    return add(spec.name, dataplane::PortKind::kEthdev, spec.devargs, spec.mtu);
  }
  Result<void> remove(PortId port) override {
    if (ports.erase(port.value) == 0) return fail("no port " + std::to_string(port.value));
    return {};
  }
  std::vector<dataplane::PortInfo> list() const override {
    std::vector<dataplane::PortInfo> all;
    for (const auto& [id, info] : ports) all.push_back(info);
    return all;
  }
  Result<dataplane::PortInfo> info(PortId port) const override {
    const auto found = ports.find(port.value);
    if (found == ports.end()) return fail("no port " + std::to_string(port.value));
    return found->second;
  }
  dataplane::PortStats stats(PortId) const override { return {}; }
  void clear_stats(PortId) override {}
  uint64_t first_delivery_ns(PortId) const override { return 0; }
  std::vector<dataplane::PortEvent> poll_events() override { return {}; }

  std::map<uint16_t, dataplane::PortInfo> ports;
  uint64_t offered_features = 0;  // By vhost ports made later.

 private:
  Result<PortId> add(const std::string& name, dataplane::PortKind kind, const std::string& detail,
                     uint16_t mtu) {
    dataplane::PortInfo info;
    info.id = PortId{next_++};
    info.name = name;
    info.kind = kind;
    info.detail = detail;
    info.mtu = mtu;
    info.offered_features = kind == dataplane::PortKind::kVhost ? offered_features : 0;
    ports[info.id.value] = info;
    return info.id;
  }
  uint16_t next_ = 0;
};

class FakeGate final : public dataplane::PacketGate {
 public:
  size_t take_redirected(std::vector<dataplane::Frame>& out, size_t most) override {
    size_t taken = 0;
    while (taken < most && !redirected.empty()) {
      out.push_back(std::move(redirected.front()));
      redirected.pop_front();
      ++taken;
    }
    return taken;
  }
  bool inject(const dataplane::Frame& frame) override {
    if (inject_room == 0) return false;
    --inject_room;
    injected.push_back(frame);
    return true;
  }
  bool injecting() const override { return false; }
  void drop(const dataplane::Frame&, dataplane::Drop reason) override { ++drops[reason]; }
  bool emit(const dataplane::Frame& frame) override {
    emitted.push_back(frame);
    return true;
  }
  size_t take_announcements(std::vector<dataplane::Frame>& out) override {
    const size_t count = announcements.size();
    for (auto& frame : announcements) out.push_back(std::move(frame));
    announcements.clear();
    return count;
  }
  uint64_t parked(EndpointId) const override { return waiting; }
  dataplane::WindowTotals totals() const override { return {}; }

  std::deque<dataplane::Frame> redirected;
  std::vector<dataplane::Frame> injected, emitted, announcements;
  std::map<dataplane::Drop, uint64_t> drops;
  size_t inject_room = SIZE_MAX;
  uint64_t waiting = 0;  // The result of parked() for each endpoint.
};

// A host: its store with an uplink, its ports and its gate.
class FakeSwitch {
 public:
  FakeSwitch() {
    dataplane::Profile up;
    up.name = "physnet1";
    up.kind = dataplane::EndpointKind::kUplink;
    uplink = endpoint(up, *ports.add_ethdev({"physnet1", "fake", 1500}));
  }
  EndpointId endpoint(const dataplane::Profile& profile, PortId port) {
    dataplane::Transaction t(store);
    const EndpointId id = *t.add_endpoint(profile, {dataplane::LocationKind::kPort, port, {}});
    (void)t.bind_port(id, port);
    (void)t.set_active(id, true);
    t.commit();
    return id;
  }
  EndpointId vm(const std::string& name, const std::string& mac, bool running = true) {
    dataplane::Profile profile;
    profile.name = name;
    profile.macs = {*parse_mac(mac)};
    const PortId port = *ports.add_vhost({name, "/run/" + name, false, 1, 1500});
    ports.ports[port.value].rings_running = running;
    return endpoint(profile, port);
  }
  RuleId rule(const std::string& owner, const std::string& text) {
    dataplane::Transaction t(store);
    const RuleId id = *t.create_rule(store.find(owner)->id, *dataplane::parse_rule(text));
    t.commit();
    return id;
  }
  // Returns the whole visible policy as text.
  std::string picture() const {
    std::string out;
    for (const dataplane::EndpointRecord* e : store.endpoints()) {
      out += e->profile.name + " location " + std::to_string(int(e->location.kind)) +
             (e->active ? " active" : "") +
             (e->port.valid() ? " port " + std::to_string(e->port.value) : "") +
             (e->guarded_by.empty() ? "" : " guarded") + " macs " +
             std::to_string(e->profile.macs.size()) + "\n";
      for (const auto& [id, r] : e->rules)
        out += "  " + std::to_string(id) + " " + dataplane::to_text(r->rule) + "\n";
    }
    out += std::to_string(ports.ports.size()) + " ports\n";
    return out;
  }

  NoWorkers grace;
  Reclaimer reclaimer{grace};
  dataplane::CounterBank counters{1};
  dataplane::StateCell cell;
  dataplane::PolicyStore store{cell, reclaimer, counters};
  FakePorts ports;
  FakeGate gate;
  EndpointId uplink;
};

}  // namespace godwit::testing
