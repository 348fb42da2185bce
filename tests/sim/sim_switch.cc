// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_switch.h"

#include <algorithm>
#include <cstring>

namespace godwit::sim {

using dataplane::ForwardingState;
using dataplane::LocationKind;

namespace {
constexpr size_t kFrameBytes = 60;
constexpr size_t kTokenAt = 16;
constexpr size_t kBurst = 32;
}  // namespace

std::vector<uint8_t> token_bytes(TokenId token) {
  std::vector<uint8_t> bytes(kFrameBytes, 0);
  std::memcpy(bytes.data() + kTokenAt, &token, sizeof token);
  return bytes;
}

TokenId token_of(std::span<const uint8_t> bytes) {
  TokenId token = 0;
  if (bytes.size() == kFrameBytes) std::memcpy(&token, bytes.data() + kTokenAt, sizeof token);
  return token;
}

const dataplane::PortInfo& SimPorts::add(const std::string& name, dataplane::PortKind kind,
                                         const std::string& detail, uint16_t mtu) {
  dataplane::PortInfo& info = ports_.emplace_back();
  info.id = PortId{next_++};
  info.name = name;
  info.kind = kind;
  info.detail = detail;
  info.mtu = mtu;
  return info;
}

Result<PortId> SimPorts::add_vhost(const dataplane::VhostPortSpec& spec) {
  for (const auto& info : ports_) {
    if (info.detail == spec.socket_path)
      return fail("socket " + spec.socket_path + " is taken by " + info.name);
  }
  const dataplane::PortInfo info =
      add(spec.name, dataplane::PortKind::kVhost, spec.socket_path, spec.mtu);
  if (on_added) on_added(info);
  return info.id;
}

Result<PortId> SimPorts::add_ethdev(const dataplane::EthdevPortSpec& spec) {
  return add(spec.name, dataplane::PortKind::kEthdev, spec.devargs, spec.mtu).id;
}

Result<void> SimPorts::remove(PortId port) {
  const auto found = std::ranges::find(ports_, port, &dataplane::PortInfo::id);
  if (found == ports_.end()) return fail("no port " + std::to_string(port.value));
  const dataplane::PortInfo gone = *found;
  ports_.erase(found);
  if (on_removed) on_removed(gone);
  return {};
}

Result<dataplane::PortInfo> SimPorts::info(PortId port) const {
  const auto found = std::ranges::find(ports_, port, &dataplane::PortInfo::id);
  if (found == ports_.end()) return fail("no port " + std::to_string(port.value));
  return *found;
}

dataplane::PortInfo* SimPorts::find(PortId port) {
  const auto found = std::ranges::find(ports_, port, &dataplane::PortInfo::id);
  return found == ports_.end() ? nullptr : &*found;
}

dataplane::PortInfo* SimPorts::find(const std::string& name) {
  const auto found = std::ranges::find(ports_, name, &dataplane::PortInfo::name);
  return found == ports_.end() ? nullptr : &*found;
}

size_t SimPorts::vhost_ports() const {
  return static_cast<size_t>(
      std::ranges::count(ports_, dataplane::PortKind::kVhost, &dataplane::PortInfo::kind));
}

SimWorker::SimWorker(Schedule& schedule, Chance& chance, std::shared_ptr<Life> life,
                     WorkerHost& host, dataplane::StateCell& cell, WorkerLimits limits)
    : schedule_(schedule),
      chance_(chance),
      life_(std::move(life)),
      host_(host),
      cell_(cell),
      limits_(limits) {
  cell_.on_publish([this] {
    if (!parked_.empty()) wake();
  });
}

void SimWorker::receive(TokenId token, EndpointId to, bool from_uplink) {
  rx_.push_back({token, to, from_uplink, {}});
  wake();
}

void SimWorker::hear_announcement(EndpointId uplink, const std::vector<uint8_t>& frame) {
  rx_.push_back({0, uplink, true, frame});
  wake();
}

void SimWorker::wake() {
  if (awake_) return;
  awake_ = true;
  schedule_.after(chance_.between(500, 20 * kUs), [this, life = life_] {
    if (!life->dead) begin();
  });
}

// The mail first, then the state: what the control thread sends after a publication is forwarded by
// that state or a later one.
void SimWorker::begin() {
  taken_mail_.swap(mail_);
  open_ = true;
  ++burst_;
  schedule_.after(chance_.between(500, 20 * kUs), [this, life = life_, state = cell_.load()] {
    if (!life->dead) finish(state);
  });
}

void SimWorker::finish(const ForwardingState* state) {
  for (const Mail& mail : taken_mail_) {
    if (mail.emitted) {
      host_.emitted(mail.frame.bytes);
    } else {
      --injections_;
      inject_now(*state, mail.frame);
    }
  }
  taken_mail_.clear();
  drain(*state);
  for (size_t i = 0; i < kBurst && !rx_.empty(); ++i) {
    Arrival arrival = std::move(rx_.front());
    rx_.pop_front();
    if (arrival.announcement.empty()) {
      locate(*state, arrival);
    } else {
      announcements_.push_back({arrival.to, std::move(arrival.announcement)});
      host_.gate_ready();
    }
  }
  drain(*state);
  open_ = awake_ = false;
  const bool outdated = cell_.load() != state;
  if (!rx_.empty() || !mail_.empty() || (outdated && !parked_.empty())) wake();
  host_.quiescent();
}

void SimWorker::inject_now(const ForwardingState& state, const dataplane::Frame& frame) {
  const auto* entry = state.endpoint(frame.endpoint);
  const bool here = entry != nullptr && entry->location.port.valid() &&
                    (entry->location.kind == LocationKind::kPort ||
                     entry->location.kind == LocationKind::kParked);
  const TokenId token = token_of(frame.bytes);
  if (!here) return host_.dropped(token, "redirect_stale");
  host_.delivered(token, entry->location.port);
}

void SimWorker::locate(const ForwardingState& state, const Arrival& arrival) {
  const auto* entry = state.endpoint(arrival.to);
  if (entry == nullptr || entry->location.kind == LocationKind::kNone)
    return host_.dropped(arrival.token, "no_location");
  const auto& location = entry->location;
  const auto held = parked_.find(arrival.to);
  const bool late =
      location.kind == LocationKind::kUplink && location.redirect_late && arrival.from_uplink;
  if (location.kind == LocationKind::kUplink && arrival.from_uplink && !late)
    return host_.dropped(arrival.token, "uplink_to_uplink");
  if (location.kind == LocationKind::kParked || location.kind == LocationKind::kRedirect || late ||
      held != parked_.end()) {
    auto& fifo = parked_[arrival.to];
    if (fifo.size() >= limits_.park) {
      ++totals_.park_overflow;
      return host_.dropped(arrival.token, "park_overflow");
    }
    ++totals_.parked;
    fifo.push_back(arrival);
    return;
  }
  if (location.kind == LocationKind::kUplink) return host_.transmitted(arrival.token, arrival.to);
  host_.delivered(arrival.token, location.port);
}

void SimWorker::drain(const ForwardingState& state) {
  for (auto at = parked_.begin(); at != parked_.end();) {
    auto& [id, fifo] = *at;
    const auto* entry = state.endpoint(id);
    const LocationKind kind = entry == nullptr ? LocationKind::kNone : entry->location.kind;
    while (kind != LocationKind::kParked && !fifo.empty()) {
      const Arrival arrival = fifo.front();
      const bool late =
          kind == LocationKind::kUplink && entry->location.redirect_late && arrival.from_uplink;
      if (kind == LocationKind::kRedirect || late) {
        if (!redirect(arrival)) break;
        fifo.pop_front();
        continue;
      }
      fifo.pop_front();
      if (kind == LocationKind::kNone) {
        host_.dropped(arrival.token, "park_expired");
      } else if (kind == LocationKind::kUplink && arrival.from_uplink) {
        host_.dropped(arrival.token, "uplink_to_uplink");
      } else if (kind == LocationKind::kUplink) {
        host_.transmitted(arrival.token, id);
      } else {
        host_.delivered(arrival.token, entry->location.port);
      }
    }
    at = fifo.empty() ? parked_.erase(at) : std::next(at);
  }
}

bool SimWorker::redirect(const Arrival& arrival) {
  if (redirected_.size() >= limits_.redirect) return false;
  redirected_.push_back({arrival.to, token_bytes(arrival.token)});
  host_.gate_ready();
  return true;
}

size_t SimWorker::take_redirected(std::vector<dataplane::Frame>& out, size_t most) {
  size_t taken = 0;
  for (; taken < most && !redirected_.empty(); ++taken) {
    out.push_back(std::move(redirected_.front()));
    redirected_.pop_front();
  }
  if (taken > 0 && !parked_.empty()) wake();
  return taken;
}

bool SimWorker::inject(const dataplane::Frame& frame) {
  if (life_->dead || !life_->effect()) return true;
  if (injections_ >= limits_.inject) return false;
  mail_.push_back({frame, false});
  ++injections_;
  wake();
  return true;
}

bool SimWorker::emit(const dataplane::Frame& frame) {
  if (life_->dead || !life_->effect()) return true;
  if (mail_.size() >= limits_.inject + kBurst) return false;
  mail_.push_back({frame, true});
  wake();
  return true;
}

size_t SimWorker::take_announcements(std::vector<dataplane::Frame>& out) {
  const size_t count = announcements_.size();
  for (auto& frame : announcements_) out.push_back(std::move(frame));
  announcements_.clear();
  return count;
}

uint64_t SimWorker::parked(EndpointId endpoint) const {
  const auto found = parked_.find(endpoint);
  return found == parked_.end() ? 0 : found->second.size();
}

}  // namespace godwit::sim
