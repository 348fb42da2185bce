// SPDX-License-Identifier: Apache-2.0
//
// A VM's NIC: one vhost-user socket, through librte_vhost. Ring 2q is what the guest receives from
// (we send to it), ring 2q+1 what it sends by.
//
// A front-end connects (on_connection), sets its rings up and starts them (on_ring ready, then
// on_device_ready), stops them one by one (on_device_gone at the first, on_ring_base for each), may
// start them again, and leaves (on_disconnect). The VM runs here from the first on_device_ready
// until GET_VRING_BASE has come for each ring that was ready: that is kRingsRunning and
// kRingsStopped.
//
// Thread safety: on_*() come from librte_vhost's threads and, where a call into librte_vhost is
// under way, from the control thread; librte_vhost serialises them for one connection. on_ring() is
// called with librte_vhost's queue locks held: it waits for nothing. on_device_gone() waits for a
// grace period, since the device's rings are freed afterwards.
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
  // Frames for a port whose rings have just stopped are held this long (tx_stage.h), so that a
  // freeze finds them.
  static constexpr uint64_t kHoldNs = 250'000'000;
  static constexpr uint64_t kCatchUpNs =
      2'000'000'000;  // after its rings run, or were locked: a move's redirect is over by then

  // `attend`: makes the workers look at all of their queues; called by any thread, queue locks
  // held.
  VhostPort(PortId id, const VhostPortSpec& spec, uint16_t workers, EventQueue& events,
            GracePeriod& grace, std::function<void()> attend);
  ~VhostPort() override;

  [[nodiscard]] const VhostPortSpec& spec() const { return spec_; }

  // From librte_vhost's callbacks (vhost_driver.cc). False: there is a front-end already.
  bool on_connection(int vid);
  void on_disconnect(int vid);
  // Control thread, before the socket goes.
  void refuse_connections() { refusing_.store(true); }
  [[nodiscard]] bool connected() const { return connection_.load() != -1; }
  [[nodiscard]] uint64_t last_disconnect_ns() const { return last_disconnect_ns_.load(); }
  void on_device_ready(int vid);
  void on_device_gone(int vid);
  void on_ring(uint16_t ring, bool ready);
  void on_ring_base(uint32_t ring);  // GET_VRING_BASE was answered
  void on_reset_owner();
  void on_features(uint64_t features);
  // Dirty logging begins or ends, while the rings run: the library has locked them, and workers
  // find a backlog when they get on.
  void on_rings_locked();
  // Control thread, when the socket is opened.
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
  void all_stopped();
  void publish_tx_mask();
  void hold_at_least(uint64_t ns);
  void silence_kicks(int vid, uint16_t ring);
  void keep_kick(uint16_t queue);

  const VhostPortSpec spec_;
  EventQueue& events_;
  GracePeriod& grace_;

  // The guest's kick for rx queue q: a duplicate of librte_vhost's, under a number that stays ours
  // until the port goes. So a worker that registers it while the guest gives another never meets a
  // stranger's descriptor.
  struct Kick {
    std::atomic<int> fd{-1};
    std::atomic<uint32_t> version{0};  // grows when there is another one behind `fd`
  };
  std::array<Kick, kMaxQueuePairs> kicks_;
  const std::function<void()> attend_;

  // Workers: the device whose rings may be used, -1 none; which of its rings.
  std::atomic<int> vid_{-1};
  std::atomic<uint64_t> ready_rings_{0};
  std::atomic<uint64_t> silenced_rings_{0};  // the guest was told not to kick them
  std::atomic<uint64_t> armed_rings_{0};     // it was told to

  // librte_vhost's threads; read by control.
  std::atomic<bool> refusing_{false};
  std::atomic<uint64_t> last_disconnect_ns_{0};
  std::atomic<int> connection_{-1};
  std::atomic<uint64_t> features_{0};
  uint64_t offered_features_ = 0;  // control thread
  std::atomic<bool> rings_running_{false};
  std::atomic<bool> logging_{false};
  std::atomic<int> numa_node_{-1};
  uint64_t ran_rings_ = 0;  // ready at some time since, and not stopped by GET_VRING_BASE
};

}  // namespace godwit::dataplane
