// SPDX-License-Identifier: Apache-2.0
//
// The dataplane of a simulated switch, for one life: ports whose guests the run plays, and one
// worker that forwards numbered packets by the published forwarding state, as
// dataplane/pipeline/pipeline.h describes. It has parks and bounded rings for redirects and
// injections. Bursts take time, so the worker sees a publication one burst later.
//
// Parsing, rules and floods are left out: a token names its endpoint.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/packet_gate.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "tests/sim/chance.h"
#include "tests/sim/schedule.h"
#include "tests/sim/sim_network.h"

namespace godwit::sim {

using TokenId = uint32_t;

// Convert a token to a frame of 60 bytes, and back.
[[nodiscard]] std::vector<uint8_t> token_bytes(TokenId token);
[[nodiscard]] TokenId token_of(std::span<const uint8_t> bytes);

class SimPorts final : public dataplane::Ports {
 public:
  std::function<void(const dataplane::PortInfo& port)> on_added;  // QEMU may connect
  std::function<void(const dataplane::PortInfo& port)> on_removed;

  Result<PortId> add_vhost(const dataplane::VhostPortSpec& spec) override;
  Result<PortId> add_ethdev(const dataplane::EthdevPortSpec& spec) override;
  Result<void> remove(PortId port) override;
  std::vector<dataplane::PortInfo> list() const override { return {}; }
  Result<dataplane::PortInfo> info(PortId port) const override;
  dataplane::PortStats stats(PortId) const override { return {}; }
  void clear_stats(PortId) override {}
  uint64_t first_delivery_ns(PortId) const override { return 0; }
  std::vector<dataplane::PortEvent> poll_events() override { return {}; }

  [[nodiscard]] dataplane::PortInfo* find(PortId port);
  [[nodiscard]] dataplane::PortInfo* find(const std::string& name);
  [[nodiscard]] size_t vhost_ports() const;

 private:
  const dataplane::PortInfo& add(const std::string& name, dataplane::PortKind kind,
                                 const std::string& detail, uint16_t mtu);
  std::vector<dataplane::PortInfo> ports_;
  uint16_t next_ = 0;
};

// The effects of the worker on the world.
class WorkerHost {
 public:
  virtual ~WorkerHost() = default;
  virtual void delivered(TokenId token, PortId port) = 0;
  virtual void dropped(TokenId token, const char* reason) = 0;
  virtual void transmitted(TokenId token, EndpointId to) = 0;  // out by the uplink
  // A frame of the switch's own goes out by the uplink.
  virtual void emitted(const std::vector<uint8_t>& frame) = 0;
  virtual void gate_ready() = 0;  // the control thread has something to take
  virtual void quiescent() = 0;   // a burst has ended
};

struct WorkerLimits {
  size_t redirect = 256, inject = 64, park = 64;
};

class SimWorker final : public dataplane::PacketGate, public GracePeriod {
 public:
  SimWorker(Schedule& schedule, Chance& chance, std::shared_ptr<Life> life, WorkerHost& host,
            dataplane::StateCell& cell, WorkerLimits limits);

  // Takes a packet for `to`, from an uplink or from a VM of this host.
  void receive(TokenId token, EndpointId to, bool from_uplink);
  void hear_announcement(EndpointId uplink, const std::vector<uint8_t>& frame);
  [[nodiscard]] bool idle() const {
    return rx_.empty() && mail_.empty() && redirected_.empty() && parked_.empty() && !open_;
  }

  // dataplane::PacketGate
  size_t take_redirected(std::vector<dataplane::Frame>& out, size_t most) override;
  bool inject(const dataplane::Frame& frame) override;
  bool injecting() const override { return injections_ > 0; }
  void drop(const dataplane::Frame& frame, dataplane::Drop reason) override {
    if (!life_->dead) host_.dropped(token_of(frame.bytes), dataplane::drop_name(reason).data());
  }
  bool emit(const dataplane::Frame& frame) override;
  size_t take_announcements(std::vector<dataplane::Frame>& out) override;
  uint64_t parked(EndpointId endpoint) const override;
  dataplane::WindowTotals totals() const override { return totals_; }

  // GracePeriod
  uint64_t start() override { return open_ ? burst_ : 0; }
  bool elapsed(uint64_t token) override { return token == 0 || !open_ || burst_ > token; }
  void wait(uint64_t) override {}

 private:
  struct Arrival {
    TokenId token;
    EndpointId to;
    bool from_uplink;
    std::vector<uint8_t> announcement;  // empty for a token, else came by the uplink `to`
  };
  struct Mail {
    dataplane::Frame frame;
    bool emitted;
  };
  void wake();
  void begin();
  void finish(const dataplane::ForwardingState* state);
  void inject_now(const dataplane::ForwardingState& state, const dataplane::Frame& frame);
  void locate(const dataplane::ForwardingState& state, const Arrival& arrival);
  void drain(const dataplane::ForwardingState& state);
  bool redirect(const Arrival& arrival);

  Schedule& schedule_;
  Chance& chance_;
  std::shared_ptr<Life> life_;
  WorkerHost& host_;
  dataplane::StateCell& cell_;
  const WorkerLimits limits_;
  std::deque<Arrival> rx_;
  std::deque<Mail> mail_, taken_mail_;
  std::deque<dataplane::Frame> redirected_;
  std::vector<dataplane::Frame> announcements_;
  std::map<EndpointId, std::deque<Arrival>> parked_;
  dataplane::WindowTotals totals_;
  size_t injections_ = 0;
  bool open_ = false, awake_ = false;
  uint64_t burst_ = 0;
};

}  // namespace godwit::sim
