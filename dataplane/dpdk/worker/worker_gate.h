// SPDX-License-Identifier: Apache-2.0
//
// The PacketGate between the control thread and the workers. Each worker has one ring of redirected
// frames and one of announcements that it saw. Frames in the other direction go to the worker's
// mailbox.
//
// Bounds: kRedirectFrames for each worker, after which push_redirected() fails and the worker keeps
// the frame; kAnnouncements, after which new announcements are discarded. `wake` is called at most
// once between two visits of the control thread.
//
// Thread safety: push_*() and notify() by the named worker; the rest by the control thread.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "dataplane/dpdk/env/mbuf_packet.h"
#include "dataplane/dpdk/env/mempools.h"
#include "dataplane/dpdk/port/port_directory.h"
#include "dataplane/dpdk/worker/mailboxes.h"
#include "dataplane/dpdk/worker/ring.h"
#include "dataplane/packet_gate.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

class Worker;

class WorkerGate final : public PacketGate {
 public:
  static constexpr unsigned kRedirectFrames = 4095;
  static constexpr unsigned kAnnouncements = 255;

  // Makes the rings of each worker. Returns an error if there is no memory for one.
  static Result<std::unique_ptr<WorkerGate>> create(const std::vector<int>& worker_nodes,
                                                    Mempools& pools, Mailboxes& mail,
                                                    const PortDirectory& ports,
                                                    const StateCell& state,
                                                    std::function<void()> wake);

  // Workers. Each returns false, and leaves the packet with the caller, if the ring is full.
  bool push_redirected(WorkerId worker, EndpointId endpoint, Packet* packet) {
    return push(*lanes_[worker.value], lanes_[worker.value]->redirected.get(), endpoint, packet);
  }
  bool push_announcement(WorkerId worker, EndpointId uplink, Packet* copy) {
    return push(*lanes_[worker.value], lanes_[worker.value]->announced.get(), uplink, copy);
  }
  // Workers, at the end of a loop. Wakes the control thread if something was pushed.
  void notify(WorkerId worker) {
    Lane& lane = *lanes_[worker.value];
    if (!lane.pushed) return;
    lane.pushed = false;
    if (!awake_.exchange(true) && wake_) wake_();
  }

  size_t take_redirected(std::vector<Frame>& out, size_t most) override;
  bool inject(const Frame& frame) override { return send(frame, MailKind::kInject); }
  bool emit(const Frame& frame) override { return send(frame, MailKind::kEmit); }
  [[nodiscard]] bool injecting() const override;
  void drop(const Frame&, Drop reason) override { ++drops_[static_cast<size_t>(reason)]; }
  [[nodiscard]] uint64_t drops(Drop reason) const { return drops_[static_cast<size_t>(reason)]; }
  size_t take_announcements(std::vector<Frame>& out) override;
  [[nodiscard]] uint64_t parked(EndpointId endpoint) const override;
  [[nodiscard]] WindowTotals totals() const override;

  // Control thread, before the workers start. Sets the workers that parked() and totals() ask.
  void set_workers(std::vector<const Worker*> workers) { workers_ = std::move(workers); }
  // Control thread, after the workers have ended. Frees the frames in the rings.
  void abandon();

 private:
  struct alignas(64) Lane {
    int node = 0;
    bool pushed = false;  // since the last notify(); used by the worker only
    RingPtr redirected;
    RingPtr announced;
  };
  WorkerGate(Mempools& pools, Mailboxes& mail, const PortDirectory& ports, const StateCell& state,
             std::function<void()> wake)
      : pools_(pools), mail_(mail), ports_(ports), state_(state), wake_(std::move(wake)) {}
  static bool push(Lane& lane, rte_ring* ring, EndpointId endpoint, Packet* packet);
  static size_t take(rte_ring* ring, std::vector<Frame>& out, size_t most);
  bool send(const Frame& frame, MailKind kind);
  [[nodiscard]] WorkerId worker_for(EndpointId endpoint) const;

  Mempools& pools_;
  Mailboxes& mail_;
  const PortDirectory& ports_;
  const StateCell& state_;
  const std::function<void()> wake_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // by worker
  std::vector<const Worker*> workers_;
  size_t next_lane_ = 0;
  std::array<uint64_t, kDropCount> drops_{};  // used by the control thread only
  std::atomic<bool> awake_{false};  // the control thread was woken and has not visited since
};

}  // namespace godwit::dataplane
