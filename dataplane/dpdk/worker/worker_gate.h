// SPDX-License-Identifier: Apache-2.0
//
// PacketGate by rings: for each worker one ring of frames that it redirected and one of
// announcements it saw; what goes the other way lands in the worker's mailbox.
//
// Bounded: kRedirectFrames for each worker, then push_redirected() says no and the worker keeps the
// frame; 256 announcements, then new ones are not shown. `wake` is called at most once between two
// visits of the control thread.
//
// Thread safety: push_*() and notify() by the worker named; the rest by the control thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "dataplane/dpdk/env/mbuf_packet.h"
#include "dataplane/dpdk/env/mempools.h"
#include "dataplane/dpdk/port/port.h"
#include "dataplane/dpdk/worker/mailboxes.h"
#include "dataplane/packet_gate.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

class Worker;

class WorkerGate final : public PacketGate {
 public:
  static constexpr unsigned kRedirectFrames = 4095;
  static constexpr unsigned kAnnouncements = 255;

  static Result<std::unique_ptr<WorkerGate>> create(const std::vector<int>& worker_nodes,
                                                    Mempools& pools, Mailboxes& mail,
                                                    const PortDirectory& ports,
                                                    const StateCell& state,
                                                    std::function<void()> wake);

  // Workers. False: full, the packet stays the caller's.
  bool push_redirected(WorkerId worker, EndpointId endpoint, Packet* packet) {
    return push(*lanes_[worker.value], lanes_[worker.value]->redirected.get(), endpoint, packet);
  }
  bool push_announcement(WorkerId worker, EndpointId uplink, Packet* copy) {
    return push(*lanes_[worker.value], lanes_[worker.value]->announced.get(), uplink, copy);
  }
  // Workers, at the end of a loop: wakes the control thread if something was pushed.
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

  // Control thread, before start(): whose parks parked() looks at.
  void set_workers(std::vector<const Worker*> workers) { workers_ = std::move(workers); }
  // Control thread, after the workers have ended.
  void abandon();

 private:
  struct alignas(64) Lane {
    int node = 0;
    bool pushed = false;  // the worker's, since notify()
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
  std::array<uint64_t, kDropCount> drops_{};  // the control thread's
  std::atomic<bool> awake_{false};  // the control thread was woken and has not looked since
};

}  // namespace godwit::dataplane
