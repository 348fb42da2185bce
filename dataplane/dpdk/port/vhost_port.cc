// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/port/vhost_port.h"

#include <rte_mempool.h>
#include <rte_vhost.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "dataplane/dpdk/env/mbuf_packet.h"
#include "dataplane/dpdk/env/monotonic.h"
#include "dataplane/dpdk/port/vhost_driver.h"
#include "dataplane/dpdk/port/vhost_messages.h"

namespace godwit::dataplane {
namespace {

// The guest sends by the rx ring of a queue and receives by its tx ring.
constexpr uint16_t rx_ring(uint16_t queue) { return static_cast<uint16_t>(queue * 2 + 1); }
constexpr uint16_t tx_ring(uint16_t queue) { return static_cast<uint16_t>(queue * 2); }

}  // namespace

VhostPort::VhostPort(PortId port, const VhostPortSpec& spec, uint16_t workers, EventQueue& events,
                     GracePeriod& grace, std::function<void()> attend)
    : Port(port, PortKind::kVhost, spec.name, spec.socket_path, spec.mtu, workers),
      spec_(spec),
      events_(events),
      grace_(grace),
      attend_(std::move(attend)) {
  set_queues(spec.queue_pairs, spec.queue_pairs, false);
}

VhostPort::~VhostPort() {
  for (const Kick& kick : kicks_) {
    if (const int fd = kick.fd.load(); fd >= 0) ::close(fd);
  }
}

bool VhostPort::on_connection(int vid) {
  if (refusing_.load() || connection_.load() != -1) return false;
  connection_.store(vid);
  ran_rings_ = 0;
  events_.post(PortEventKind::kConnected, id);
  return true;
}

void VhostPort::on_disconnect(int vid) {
  if (connection_.load() != vid) return;
  last_disconnect_ns_.store(monotonic_ns());
  ready_rings_.store(0);
  ran_rings_ = 0;
  features_.store(0);
  rings_running_.store(false);
  logging_.store(false);
  connection_.store(-1);
  events_.post(PortEventKind::kDisconnected, id);
}

void VhostPort::on_device_ready(int vid) {
  uint64_t features = 0;
  rte_vhost_get_negotiated_features(vid, &features);
  partial_.store((features & kFeatureGuestCsum) != 0, std::memory_order_relaxed);
  uint16_t guest_mtu = 0;
  const bool has_mtu = rte_vhost_get_mtu(vid, &guest_mtu) == 0 && guest_mtu != 0;
  mtu_.store(has_mtu ? std::min(guest_mtu, spec_.mtu) : spec_.mtu, std::memory_order_relaxed);
  numa_node_.store(rte_vhost_get_numa_node(vid), std::memory_order_relaxed);
  silenced_rings_.store(0);
  const bool starts = !rings_running_.exchange(true);
  if (starts) {
    first_delivery_ns_.store(0, std::memory_order_relaxed);
    hold_at_least(kCatchUpNs);
    // Posted before the first frame can pass, so that the event is not later than the frame.
    events_.post(PortEventKind::kRingsRunning, id);
  }
  vid_.store(vid, std::memory_order_release);
  publish_tx_mask();
  attend_();
}

void VhostPort::on_device_gone(int vid) {
  if (vid_.load() != vid) return;
  hold_until_ns_.store(monotonic_ns() + kHoldNs, std::memory_order_release);
  vid_.store(-1);
  publish_tx_mask();
  // librte_vhost frees the rings, and reuses the device number, once this returns.
  grace_.wait(grace_.start());
}

void VhostPort::on_ring(uint16_t ring, bool ready) {
  if (ring >= 2 * spec_.queue_pairs) return;
  const uint64_t bit = uint64_t{1} << ring;
  if (ready) {
    ran_rings_ |= bit;
    silenced_rings_.fetch_and(~bit);
    armed_rings_.fetch_and(~bit);
    if (ring % 2 == 1) keep_kick(ring / 2);
    ready_rings_.fetch_or(bit);
  } else {
    hold_at_least(kHoldNs);
    ready_rings_.fetch_and(~bit);
  }
  publish_tx_mask();
  attend_();
}

// Duplicates the kick descriptor. Called under librte_vhost's locks, so it stays open meanwhile.
void VhostPort::keep_kick(uint16_t queue) {
  rte_vhost_vring vring{};
  if (rte_vhost_get_vhost_vring(connection_.load(), rx_ring(queue), &vring) != 0 ||
      vring.kickfd < 0)
    return;
  Kick& kick = kicks_[queue];
  const int mine = kick.fd.load();
  const int kept =
      mine < 0 ? fcntl(vring.kickfd, F_DUPFD_CLOEXEC, 0) : dup3(vring.kickfd, mine, O_CLOEXEC);
  if (kept < 0) return;
  kick.fd.store(kept);
  kick.version.fetch_add(1);
}

Port::Arm VhostPort::arm(uint16_t queue, Sleeper& sleeper, uint32_t tag, uint32_t& watched) {
  const int vid = vid_.load(std::memory_order_acquire);
  const uint16_t ring = rx_ring(queue);
  const uint64_t bit = uint64_t{1} << ring;
  if (vid < 0 || (ready_rings_.load(std::memory_order_acquire) & bit) == 0) return Arm::kDormant;
  const uint32_t version = kicks_[queue].version.load();
  if (watched != version) {
    if (!sleeper.watch(kicks_[queue].fd.load(), tag)) return Arm::kPolled;
    watched = version;
  }
  if (version == 0) return Arm::kPolled;  // the ring has no kick descriptor
  armed_rings_.fetch_or(bit);
  rte_vhost_enable_guest_notification(vid, ring, 1);
  // The guest must see the request to kick before the worker polls the ring once more.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return Arm::kArmed;
}

void VhostPort::disarm(uint16_t queue) {
  const uint64_t bit = uint64_t{1} << rx_ring(queue);
  armed_rings_.fetch_and(~bit);
  silenced_rings_.fetch_and(~bit);  // receive() then asks the guest not to kick
}

void VhostPort::on_ring_base(uint32_t ring) {
  if (ring >= 2u * spec_.queue_pairs) return;
  ran_rings_ &= ~(uint64_t{1} << ring);
  if (ran_rings_ == 0) all_stopped();
}

void VhostPort::on_reset_owner() {
  ran_rings_ = 0;
  all_stopped();
}

void VhostPort::all_stopped() {
  if (rings_running_.exchange(false)) events_.post(PortEventKind::kRingsStopped, id);
}

void VhostPort::on_features(uint64_t features) {
  // Without multi-queue librte_vhost drops all rings but the first pair.
  if ((features & kFeatureMq) == 0) ran_rings_ &= 3;
  const uint64_t before = features_.exchange(features);
  if (((before ^ features) & ~kFeatureLogAll) != 0)
    events_.post(PortEventKind::kFeaturesChanged, id);
  const bool logging = (features & kFeatureLogAll) != 0;
  if (logging_.exchange(logging) != logging) {
    on_rings_locked();
    events_.post(logging ? PortEventKind::kLoggingStarted : PortEventKind::kLoggingStopped, id);
  }
}

void VhostPort::on_rings_locked() {
  if (rings_running_.load()) hold_at_least(kCatchUpNs);
}

// Extends the hold and never shortens it. A ring stops for an instant whenever QEMU replaces its
// call descriptor, also just after its start.
void VhostPort::hold_at_least(uint64_t ns) {
  const uint64_t until = monotonic_ns() + ns;
  uint64_t now = hold_until_ns_.load(std::memory_order_relaxed);
  while (now < until && !hold_until_ns_.compare_exchange_weak(now, until, std::memory_order_release,
                                                              std::memory_order_relaxed)) {
  }
}

void VhostPort::publish_tx_mask() {
  const uint64_t rings = ready_rings_.load();
  uint32_t mask = 0;
  for (uint16_t queue = 0; queue < spec_.queue_pairs; ++queue) {
    if ((rings >> tx_ring(queue) & 1) != 0) mask |= 1u << queue;
  }
  const uint32_t before = tx_mask_.load(std::memory_order_relaxed);
  const bool up = vid_.load() != -1 && mask != 0;
  // While the port is down, flows keep their queues and thereby their workers, so that a stop does
  // not reorder them.
  tx_mask_.store(up ? mask : (before | kDownBit), std::memory_order_release);
}

void VhostPort::silence_kicks(int vid, uint16_t ring) {
  // A polled ring needs no kicks. This cannot be done in on_ring(), where the ring's lock is held.
  silenced_rings_.fetch_or(uint64_t{1} << ring);
  rte_vhost_enable_guest_notification(vid, ring, 0);
}

uint16_t VhostPort::receive(uint16_t queue, rte_mempool* pool, rte_mbuf** out, uint16_t most) {
  const int vid = vid_.load(std::memory_order_acquire);
  const uint16_t ring = rx_ring(queue);
  if (vid < 0 || (ready_rings_.load(std::memory_order_relaxed) >> ring & 1) == 0) return 0;
  const uint64_t quiet = silenced_rings_.load(std::memory_order_relaxed) |
                         armed_rings_.load(std::memory_order_relaxed);
  if ((quiet >> ring & 1) == 0) silence_kicks(vid, ring);
  const uint16_t count = rte_vhost_dequeue_burst(vid, ring, pool, out, most);
  for (uint16_t i = 0; i < count; ++i) {
    Packet* packet = to_packet(out[i]);
    note_partial_checksum(*out[i], *packet);
  }
  return count;
}

uint16_t VhostPort::send(uint16_t queue, rte_mbuf** mbufs, uint16_t count) {
  const int vid = vid_.load(std::memory_order_acquire);
  if (vid < 0) return 0;
  const uint16_t ring = tx_ring(queue);
  if ((silenced_rings_.load(std::memory_order_relaxed) >> ring & 1) == 0) silence_kicks(vid, ring);
  const uint16_t sent = rte_vhost_enqueue_burst(vid, ring, mbufs, count);
  if (sent > 0) rte_pktmbuf_free_bulk(mbufs, sent);  // the library has copied them
  return sent;
}

void VhostPort::describe(PortInfo& info) const {
  info.driver = "vhost-user";
  info.server = spec_.server;
  info.link_up = vid_.load() != -1;
  info.connected = connection_.load() != -1;
  info.rings_running = rings_running_.load();
  info.dirty_logging = logging_.load();
  info.features = features_.load();
  info.offered_features = offered_features_;
}

void VhostPort::close() { unregister_vhost(*this); }

}  // namespace godwit::dataplane
