// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/worker/worker_gate.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "dataplane/dpdk/port/port.h"
#include "dataplane/dpdk/worker/worker.h"

namespace godwit::dataplane {

Result<std::unique_ptr<WorkerGate>> WorkerGate::create(const std::vector<int>& worker_nodes,
                                                       Mempools& pools, Mailboxes& mail,
                                                       const PortDirectory& ports,
                                                       const StateCell& state,
                                                       std::function<void()> wake) {
  std::unique_ptr<WorkerGate> gate(new WorkerGate(pools, mail, ports, state, std::move(wake)));
  for (size_t worker = 0; worker < worker_nodes.size(); ++worker) {
    auto lane = std::make_unique<Lane>();
    lane->node = worker_nodes[worker];
    const std::string number = std::to_string(worker);
    auto redirected = make_ring(("redirected_" + number).c_str(), kRedirectFrames, lane->node);
    if (!redirected) return fail(redirected.error());
    auto announced = make_ring(("announced_" + number).c_str(), kAnnouncements, lane->node);
    if (!announced) return fail(announced.error());
    lane->redirected = std::move(*redirected);
    lane->announced = std::move(*announced);
    gate->lanes_.push_back(std::move(lane));
  }
  return gate;
}

bool WorkerGate::push(Lane& lane, rte_ring* ring, EndpointId endpoint, Packet* packet) {
  rte_mbuf* mbuf = mbuf_of(*packet);
  priv_of(mbuf).target = endpoint.value;
  if (rte_ring_sp_enqueue(ring, mbuf) != 0) return false;
  lane.pushed = true;
  return true;
}

size_t WorkerGate::take(rte_ring* ring, std::vector<Frame>& out, size_t most) {
  std::array<rte_mbuf*, kBurst> mbufs;
  size_t taken = 0;
  while (taken < most) {
    const auto want = static_cast<unsigned>(std::min(most - taken, mbufs.size()));
    const unsigned count =
        rte_ring_sc_dequeue_burst(ring, reinterpret_cast<void**>(mbufs.data()), want, nullptr);
    if (count == 0) break;
    for (unsigned i = 0; i < count; ++i) {
      const Packet& packet = *packet_of(mbufs[i]);
      Frame& frame = out.emplace_back();
      frame.endpoint = EndpointId(priv_of(mbufs[i]).target);
      frame.bytes.assign(packet.data, packet.data + packet.len);
      frame.csum_start = packet.csum_start;
      frame.csum_offset = packet.csum_offset;
      frame.flags = packet.flags;
      frame.mark = packet.mark;
    }
    rte_pktmbuf_free_bulk(mbufs.data(), count);
    taken += count;
  }
  return taken;
}

size_t WorkerGate::take_redirected(std::vector<Frame>& out, size_t most) {
  awake_.store(false);  // cleared first, so that frames pushed from here on wake this thread again
  size_t taken = 0;
  for (size_t lanes = 0; lanes < lanes_.size() && taken < most; ++lanes) {
    taken += take(lanes_[next_lane_]->redirected.get(), out, most - taken);
    next_lane_ = (next_lane_ + 1) % lanes_.size();
  }
  return taken;
}

size_t WorkerGate::take_announcements(std::vector<Frame>& out) {
  awake_.store(false);
  size_t taken = 0;
  for (const auto& lane : lanes_) taken += take(lane->announced.get(), out, kAnnouncements);
  return taken;
}

WorkerId WorkerGate::worker_for(EndpointId endpoint) const {
  const ForwardingState* state = state_.load();
  const EndpointEntry* entry = state == nullptr ? nullptr : state->endpoint(endpoint);
  if (entry != nullptr && entry->location.kind == LocationKind::kUplink)
    entry = state->endpoint(entry->location.uplink);
  const Port* port = entry == nullptr ? nullptr : ports_.find(entry->location.port);
  return port == nullptr ? WorkerId(0) : port->owner(0, WorkerId(0));
}

bool WorkerGate::send(const Frame& frame, MailKind kind) {
  const WorkerId worker = worker_for(frame.endpoint);
  // A frame of impossible size is a defect of its sender. It is discarded as if it were sent, so
  // that the caller does not retry without end.
  if (frame.bytes.size() < kEthernetBytes || frame.bytes.size() > kMaxFrameBytes) return true;
  if (frame.bytes.size() > kSmallFrameBytes && !pools_.need_large()) return false;
  Packet* packet = pools_.copy_of(lanes_[worker.value]->node, frame.bytes.data(),
                                  static_cast<uint32_t>(frame.bytes.size()));
  if (packet == nullptr) return false;
  packet->csum_start = frame.csum_start;
  packet->csum_offset = frame.csum_offset;
  packet->flags = frame.flags;
  packet->mark = frame.mark;
  rte_mbuf* mbuf = mbuf_of(*packet);
  MbufPriv& priv = priv_of(mbuf);
  priv.kind = kind;
  priv.target = frame.endpoint.value;
  if (mail_.send(mail_.control_sender(), worker, mbuf)) {
    mail_.wake(worker);
    return true;
  }
  rte_pktmbuf_free(mbuf);
  return false;
}

bool WorkerGate::injecting() const {
  for (uint16_t worker = 0; worker < mail_.workers(); ++worker) {
    if (mail_.waiting(mail_.control_sender(), WorkerId(worker))) return true;
  }
  return false;
}

uint64_t WorkerGate::parked(EndpointId endpoint) const {
  uint64_t total = 0;
  for (const Worker* worker : workers_) total += worker->parked(endpoint);
  return total;
}

WindowTotals WorkerGate::totals() const {
  WindowTotals out;
  for (const Worker* worker : workers_) {
    out.parked += worker->pipeline().counts().parked.load(std::memory_order_relaxed);
    for (uint16_t port = 0; port <= kMaxPorts; ++port) {
      out.park_overflow += worker->drops().read(PortId(port), Drop::k_park_overflow);
      out.redirect_duplicate += worker->drops().read(PortId(port), Drop::k_redirect_duplicate);
    }
  }
  return out;
}

void WorkerGate::abandon() {
  std::array<rte_mbuf*, kBurst> mbufs;
  for (const auto& lane : lanes_) {
    for (rte_ring* ring : {lane->redirected.get(), lane->announced.get()}) {
      while (const unsigned count = rte_ring_sc_dequeue_burst(
                 ring, reinterpret_cast<void**>(mbufs.data()), kBurst, nullptr)) {
        rte_pktmbuf_free_bulk(mbufs.data(), count);
      }
    }
  }
}

}  // namespace godwit::dataplane
