// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/worker/tx_stage.h"

#include <rte_cycles.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/single_writer.h"
#include "dataplane/dpdk/env/mbuf_packet.h"
#include "dataplane/packet/checksum.h"

namespace godwit::dataplane {
namespace {

// Retries for a full ring. A running guest empties its ring within a few microseconds; one that
// does not run costs all retries.
constexpr unsigned kRetries = 8;
constexpr unsigned kRetryPauseUs = 1;

// Returns whether the frame fits. The MTU excludes the Ethernet header and its tags.
bool fits(const Packet& packet, uint32_t mtu) {
  uint32_t allowed = mtu + kEthernetBytes;
  if (packet.len <= allowed) return true;
  for (uint32_t at = 12; at <= 16 && at + 6 <= packet.head_len; at += kVlanTagBytes) {
    be16 type;
    std::memcpy(&type, packet.data + at, sizeof type);
    if (type.host() != 0x8100 && type.host() != 0x88a8) break;
    allowed += kVlanTagBytes;
  }
  return packet.len <= allowed;
}

}  // namespace

void TxStage::drop(Packet* packet, PortId port, Drop reason) {
  drops_.count(port, reason);
  host_.free({&packet, 1});
}

// Splits the outputs into runs for the same port.
void TxStage::add(std::span<const Output> outputs) {
  while (!outputs.empty()) {
    size_t length = 1;
    while (length < outputs.size() && outputs[length].port == outputs[0].port) ++length;
    Port* port = ports_.find(outputs[0].port);
    const size_t done = port == nullptr ? 0 : add_run(*port, outputs.first(length));
    for (size_t i = done; i < length; ++i)
      add_one(outputs[i].packet, outputs[i].port, outputs[i].origin);
    outputs = outputs.subspan(length);
  }
}

// Adds frames for a port whose only queue this worker owns, while nothing is held. Returns the
// number of frames that it took, from the first on.
size_t TxStage::add_run(Port& port, std::span<const Output> run) {
  uint16_t queue = 0;
  if (!holds_.empty() || !port.one_way(self_, queue) || port.owner(queue, self_) != self_) return 0;
  const uint32_t most = uint32_t{port.mtu()} + kEthernetBytes;
  TxBatch& batch = port.batch(self_, queue);
  for (size_t i = 0; i < run.size(); ++i) {
    Packet& packet = *run[i].packet;
    if (packet.len > most || (packet.flags & Packet::kPartialChecksum) != 0) return i;
    rte_mbuf* mbuf = to_mbuf(packet);
    MbufPriv& priv = priv_of(mbuf);
    priv.origin = run[i].origin.value;
    priv.patient = patient_;
    if (batch.count == 0) dirty_.push_back({&port, queue});
    batch.mbufs[batch.count++] = mbuf;
    if (batch.count < batch.mbufs.size()) continue;
    send_batch(port, queue);
    if (!holds_.empty()) return i + 1;
  }
  return run.size();
}

void TxStage::add_one(Packet* packet, PortId to, PortId origin) {
  MbufPriv& priv = priv_of(mbuf_of(*packet));
  priv.origin = origin.value;
  priv.patient = patient_;
  Port* port = ports_.find(to);
  if (port == nullptr) return drop(packet, to, Drop::k_tx_down);
  if (!fits(*packet, port->mtu())) return drop(packet, to, Drop::k_too_big);
  const Port::Route route = port->route(self_, packet->flow_hash);
  const WorkerId owner = port->owner(route.queue, self_);
  if (owner == self_) return enqueue(*port, route.queue, route.up, packet);
  priv.kind = MailKind::kTransmit;
  priv.target = to.value;
  priv.serial = port->serial;
  if (!mail_.send(self_.value, owner, mbuf_of(*packet)))
    return drop(packet, to, Drop::k_tx_ring_full);
  if (std::find(mailed_.begin(), mailed_.end(), owner) == mailed_.end()) mailed_.push_back(owner);
}

void TxStage::add_mail(Packet* packet, PortId to, uint32_t serial) {
  Port* port = ports_.find(to);
  if (port == nullptr || port->serial != serial) return drop(packet, to, Drop::k_tx_down);
  const Port::Route route = port->route(self_, packet->flow_hash);
  // This worker sends even if it has ceased to own the queue. Two writers for an instant only wait
  // for each other's lock.
  enqueue(*port, route.queue, route.up, packet);
}

void TxStage::enqueue(Port& port, uint16_t queue, bool up, Packet* packet) {
  if (!up || (!holds_.empty() && find_hold(port) != nullptr)) {
    const bool patient = priv_of(mbuf_of(*packet)).patient;
    // A settled port's hold only shrinks. One filled faster than the guest takes frames would never
    // end.
    if (up && !patient && port.settled(now_ns_))
      return drop(packet, port.id, Drop::k_tx_queue_full);
    const uint64_t until_ns = std::max(port.hold_until_ns(), patient ? now_ns_ + kHoldNs : 0);
    if (!try_hold(port, packet, until_ns > now_ns_, until_ns))
      drop(packet, port.id, up ? Drop::k_tx_queue_full : Drop::k_tx_down);
    return;
  }
  rte_mbuf* mbuf = to_mbuf(*packet);
  if ((packet->flags & Packet::kPartialChecksum) != 0 &&
      !(port.takes_partial_checksums() && request_partial_checksum(*packet, *mbuf))) {
    if (finish_partial_checksum(*packet)) return drop(packet, port.id, Drop::k_bad_offload);
  }
  TxBatch& batch = port.batch(self_, queue);
  if (batch.count == 0) dirty_.push_back({&port, queue});
  batch.mbufs[batch.count++] = mbuf;
  if (batch.count == batch.mbufs.size()) send_batch(port, queue);
}

void TxStage::flush() {
  for (size_t i = 0; i < dirty_.size(); ++i) send_batch(*dirty_[i].port, dirty_[i].queue);
  dirty_.clear();
  for (const WorkerId worker : mailed_) mail_.wake(worker);
  mailed_.clear();
}

void TxStage::send_batch(Port& port, uint16_t queue) {
  TxBatch& batch = port.batch(self_, queue);
  const uint16_t count = std::exchange(batch.count, 0);
  if (count == 0) return;
  std::array<uint32_t, kBurst> lengths;  // a device may free the frames that it takes
  for (uint16_t i = 0; i < count; ++i) lengths[i] = batch.mbufs[i]->pkt_len;
  uint16_t done = 0;
  for (unsigned tries = 0;;) {
    const uint16_t sent =
        port.send(queue, batch.mbufs.data() + done, static_cast<uint16_t>(count - done));
    done = static_cast<uint16_t>(done + sent);
    if (sent > 0) batch.stalled = false;
    if (done == count) break;
    if (sent > 0) continue;
    if (batch.stalled || ++tries > kRetries || !port.ready(queue)) break;
    rte_delay_us_block(kRetryPauseUs);
  }
  if (done > 0) {
    uint64_t bytes = 0;
    for (uint16_t i = 0; i < done; ++i) bytes += lengths[i];
    PortCell& cell = port.cell(self_);
    bump(cell.tx_packets, done);
    bump(cell.tx_bytes, bytes);
    sent_ += done;
    port.note_traffic();
  }
  if (done == count) return;
  const bool down = !port.ready(queue);
  batch.stalled = !down;
  const bool settling = port.settling(now_ns_);
  const uint64_t until_ns = std::max(port.hold_until_ns(), now_ns_ + kHoldNs);
  for (uint16_t i = done; i < count; ++i) {
    Packet* packet = packet_of(batch.mbufs[i]);
    const bool may_begin = down || settling || priv_of(batch.mbufs[i]).patient;
    if (!try_hold(port, packet, may_begin, until_ns))
      drop(packet, port.id, down ? Drop::k_tx_down : Drop::k_tx_queue_full);
  }
}

TxStage::Hold* TxStage::find_hold(const Port& port) {
  for (Hold& hold : holds_) {
    if (hold.serial == port.serial) return &hold;
  }
  return nullptr;
}

bool TxStage::holds(EndpointId endpoint) const {
  return std::any_of(holds_.begin(), holds_.end(),
                     [&](const Hold& hold) { return hold.endpoint == endpoint; });
}

void TxStage::list_holds(std::vector<EndpointId>& out) const {
  for (const Hold& hold : holds_) out.push_back(hold.endpoint);
}

// Holds the packet for its port. Begins a hold only if `may_begin`; an existing hold takes every
// packet, so that none is overtaken. Returns false, and leaves the packet with the caller, if it
// cannot be held.
bool TxStage::try_hold(Port& port, Packet* packet, bool may_begin, uint64_t until_ns) {
  Hold* hold = find_hold(port);
  if (hold == nullptr) {
    if (!may_begin) return false;
    flush_port(port);  // batched frames are older and may begin the hold themselves
    hold = find_hold(port);
  }
  if (hold == nullptr) {
    hold = &holds_.emplace_back(Hold{.port = port.id,
                                     .serial = port.serial,
                                     .endpoint = state_->owner(port.id),
                                     .until_ns = until_ns});
  }
  const size_t most = std::min<size_t>(limits_.packets, mbuf_of(*packet)->pool->size / 2);
  if (hold->packets.size() >= most || hold->bytes + packet->len > limits_.bytes) return false;
  bool& patient = priv_of(mbuf_of(*packet)).patient;
  if (!patient && !leaves_buffers(*packet)) return false;
  patient = true;  // a held frame is not dropped when it is tried without success
  hold->packets.push_back(packet);
  hold->bytes += packet->len;
  set_held();
  return true;
}

void TxStage::flush_port(Port& port) {
  for (size_t i = 0; i < dirty_.size(); ++i) {  // send_batch() may append to it
    if (dirty_[i].port == &port) send_batch(port, dirty_[i].queue);
  }
}

void TxStage::set_held() {
  size_t packets = 0;
  for (const Hold& hold : holds_) packets += hold.packets.size();
  held_.store(static_cast<uint32_t>(packets), std::memory_order_relaxed);
}

void TxStage::begin(const ForwardingState& state, uint64_t now_ns) {
  state_ = &state;
  now_ns_ = now_ns;
  if (holds_.empty()) return;
  std::vector<Hold> before = std::exchange(holds_, {});
  for (Hold& hold : before) {
    if (!release(hold)) holds_.push_back(std::move(hold));
  }
  set_held();
}

// Sends, redirects or drops held frames by the current location of their endpoint. Returns false if
// the hold stays as it is. Frames that go back to the port may begin a new hold.
bool TxStage::release(Hold& hold) {
  Port* port = ports_.find(hold.port);
  if (port != nullptr && port->serial != hold.serial) port = nullptr;
  const EndpointEntry* entry = state_->endpoint(hold.endpoint);
  const LocationKind kind = entry == nullptr ? LocationKind::kNone : entry->location.kind;
  bool up = false;
  switch (kind) {
    case LocationKind::kPort:
    case LocationKind::kParked:
      if (kind == LocationKind::kPort && entry->location.port != hold.port)
        return follow(hold, false);
      if (port != nullptr && entry->location.port == hold.port) {
        up = port->route(self_, 0).up;
        if (up && now_ns_ < hold.until_ns) {
          refill(*port, hold);
          return true;
        }
      }
      // While the VM is parked the hold lasts, and kHoldNs longer until its rings run.
      if (kind == LocationKind::kParked) hold.until_ns = now_ns_ + kHoldNs;
      if (port != nullptr && now_ns_ < hold.until_ns) return false;
      break;
    case LocationKind::kRedirect: return redirect(hold);
    case LocationKind::kUplink: return follow(hold, entry->location.redirect_late);
    case LocationKind::kNone: break;
  }
  drop_all(hold, up ? Drop::k_tx_queue_full : Drop::k_tx_down);
  return true;
}

// Gives the port one burst after another as long as it takes them. Frames that it does not take
// stay held, and keep their deadline unless some were sent.
void TxStage::refill(Port& port, Hold& hold) {
  const uint64_t sent_before = sent_;
  size_t tried = 0;
  Hold* left = nullptr;  // a new hold of frames that were not taken
  while (left == nullptr && tried < hold.packets.size()) {
    const size_t end = std::min(tried + kBurst, hold.packets.size());
    for (; tried < end; ++tried) {
      Packet* packet = hold.packets[tried];
      hold.bytes -= packet->len;
      const Port::Route route = port.route(self_, packet->flow_hash);
      enqueue(port, route.queue, route.up, packet);
    }
    flush_port(port);
    left = find_hold(port);
  }
  if (left == nullptr) return;
  // Its frames go before those that were not tried.
  const auto from =
      hold.packets.begin() + static_cast<std::ptrdiff_t>(tried - left->packets.size());
  std::ranges::copy(left->packets, from);
  hold.packets.erase(hold.packets.begin(), from);
  hold.bytes += left->bytes;
  if (sent_ != sent_before) hold.until_ns = left->until_ns;
  *left = std::move(hold);
}

// Hands held frames to the control thread for the peer. Returns whether all were taken.
bool TxStage::redirect(Hold& hold) {
  size_t done = 0;
  for (; done < hold.packets.size(); ++done) {
    const uint32_t length = hold.packets[done]->len;
    if (!gate_.push_redirected(self_, hold.endpoint, hold.packets[done])) break;
    hold.bytes -= length;
  }
  bump(redirected_, done);
  hold.packets.erase(hold.packets.begin(),
                     hold.packets.begin() + static_cast<std::ptrdiff_t>(done));
  return hold.packets.empty();
}

// Sends held frames after their endpoint, which has moved. Frames from an uplink, and flooded ones,
// cannot leave by an uplink: they are redirected to the peer while the move allows it, else
// dropped. Returns whether no frame is left.
bool TxStage::follow(Hold& hold, bool redirect_late) {
  const bool leaves = state_->endpoint(hold.endpoint)->location.kind == LocationKind::kUplink;
  std::vector<Packet*> waiting;
  for (Packet* packet : hold.packets) {
    const EndpointEntry* from =
        state_->endpoint(state_->owner(PortId(priv_of(mbuf_of(*packet)).origin)));
    const bool from_uplink = from != nullptr && from->kind == EndpointKind::kUplink;
    const bool flooded = (packet->flags & Packet::kFlooded) != 0;
    if (!leaves || (!from_uplink && !flooded)) {
      host_.reroute(*state_, hold.endpoint, packet);
    } else if (redirect_late) {
      waiting.push_back(packet);
    } else {
      drop(packet, hold.port, from_uplink ? Drop::k_uplink_to_uplink : Drop::k_redirect_duplicate);
    }
  }
  hold.packets = std::move(waiting);
  return redirect(hold);
}

void TxStage::drop_all(Hold& hold, Drop reason) {
  for (Packet* packet : hold.packets) drop(packet, hold.port, reason);
}

void TxStage::abandon() {
  for (Hold& hold : holds_) drop_all(hold, Drop::k_tx_down);
  holds_.clear();
  set_held();
}

}  // namespace godwit::dataplane
