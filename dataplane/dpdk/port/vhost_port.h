// SPDX-License-Identifier: Apache-2.0
//
// The NIC of a VM: one vhost-user socket, served by librte_vhost. The guest receives from ring 2q,
// which the switch sends to, and sends by ring 2q+1.
//
// A front-end connects (on_connection), sets up its rings and starts them (on_ring ready, then
// on_device_ready), stops them one by one (on_device_gone at the first, on_ring_base for each), may
// start them again, and leaves (on_disconnect). The VM runs here from the first on_device_ready
// until GET_VRING_BASE has come for each ring that was ready. The events kRingsRunning and
// kRingsStopped report this.
//
// Thread safety: on_*() run on librte_vhost's threads and, during a call into librte_vhost, on the
// control thread. librte_vhost serializes them for one connection. on_ring() runs with
// librte_vhost's queue locks held and must not wait. on_device_gone() waits for a grace period,
// since the device's rings are freed after it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>

#include "base/rcu.h"
#include "dataplane/dpdk/env/event_queue.h"
#include "dataplane/dpdk/port/port.h"

namespace godwit::dataplane {

class VhostPort final : public Port {
 public:
  static constexpr uint16_t kMaxQueuePairs = 16;
  // Frames for a port whose rings have just stopped are held for this long (tx_stage.h), so that
  // parking the VM catches them.
  static constexpr uint64_t kHoldNs = 250'000'000;
  // Frames are held for this long after rings start to run or were locked. A move's redirect is
  // over by then.
  static constexpr uint64_t kCatchUpNs = 2'000'000'000;

  // `attend` makes the workers look at all of their queues. It is called by any thread, also with
  // librte_vhost's queue locks held.
  VhostPort(PortId id, const VhostPortSpec& spec, uint16_t workers, EventQueue& events,
            GracePeriod& grace, std::function<void()> attend);
  ~VhostPort() override;

  [[nodiscard]] const VhostPortSpec& spec() const { return spec_; }

  // Called by vhost_driver.cc. Returns false to refuse a second front-end.
  bool on_connection(int vid);
  // The front-end has closed the connection.
  void on_disconnect(int vid);
  // Control thread. Makes on_connection() refuse every front-end. Called before the socket is
  // closed.
  void refuse_connections() { refusing_.store(true); }
  [[nodiscard]] bool connected() const { return connection_.load() != -1; }
  [[nodiscard]] uint64_t last_disconnect_ns() const { return last_disconnect_ns_.load(); }
  // The device's rings may be used until on_device_gone() returns.
  void on_device_ready(int vid);
  void on_device_gone(int vid);
  // A ring may be used, or may be used no longer.
  void on_ring(uint16_t ring, bool ready);
  // GET_VRING_BASE was answered: the front-end has stopped the ring.
  void on_ring_base(uint32_t ring);
  // RESET_OWNER has come: all rings have stopped.
  void on_reset_owner();
  // The front-end has set the negotiated features.
  void on_features(uint64_t features);
  // Dirty logging begins or ends while the rings run. The library has locked the rings meanwhile,
  // so workers find a backlog.
  void on_rings_locked();
  // Control thread. Called when the socket is opened.
  void set_offered_features(uint64_t features) { offered_features_ = features; }

  uint16_t receive(uint16_t queue, rte_mempool* pool, rte_mbuf** out, uint16_t most) override;
  uint16_t send(uint16_t queue, rte_mbuf** mbufs, uint16_t count) override;
  Arm arm(uint16_t queue, Sleeper& sleeper, uint32_t tag, uint32_t& watched) override;
  void disarm(uint16_t queue) override;
  [[nodiscard]] int numa_node() const override {
    return numa_node_.load(std::memory_order_relaxed);
  }
  void describe(PortInfo& info) const override;
  void close() override;

 private:
  // Posts kRingsStopped if the rings ran.
  void all_stopped();
  void publish_tx_mask();
  void hold_at_least(uint64_t ns);
  void silence_kicks(int vid, uint16_t ring);
  void keep_kick(uint16_t queue);

  const VhostPortSpec spec_;
  EventQueue& events_;
  GracePeriod& grace_;

  // The guest's kick descriptor of an rx queue: a duplicate of librte_vhost's, under a number that
  // stays valid until the port is destroyed. A worker that watches it while the guest replaces it
  // therefore never watches an unrelated descriptor.
  struct Kick {
    std::atomic<int> fd{-1};
    std::atomic<uint32_t> version{0};  // grows when `fd` is replaced; 0 before the first descriptor
  };
  std::array<Kick, kMaxQueuePairs> kicks_;
  const std::function<void()> attend_;

  // Read by workers.
  std::atomic<int> vid_{-1};                 // the device whose rings may be used; -1 if none
  std::atomic<uint64_t> ready_rings_{0};     // bit i is set if ring i may be used
  std::atomic<uint64_t> silenced_rings_{0};  // rings that the guest is asked not to kick
  std::atomic<uint64_t> armed_rings_{0};     // rings that the guest is asked to kick

  // Written by librte_vhost's threads, read by the control thread.
  std::atomic<bool> refusing_{false};
  std::atomic<uint64_t> last_disconnect_ns_{0};
  std::atomic<int> connection_{-1};
  std::atomic<uint64_t> features_{0};
  uint64_t offered_features_ = 0;  // control thread only
  std::atomic<bool> rings_running_{false};
  std::atomic<bool> logging_{false};
  std::atomic<int> numa_node_{-1};
  uint64_t ran_rings_ = 0;  // rings that became ready and were not stopped by GET_VRING_BASE since
};

}  // namespace godwit::dataplane
