// SPDX-License-Identifier: Apache-2.0
//
// The queues of a worker's plan that it polls in each loop. The others are armed, so that the guest
// kicks when it has sent, or dormant, because no frame can come by them.
//
// A change of the plan makes all queues active. So does a change of rings (Sleeper::attend) or of
// the endpoint table, with one poll each before they may be armed again.
//
// Thread safety: belongs to one worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dataplane/dpdk/env/sleeper.h"
#include "dataplane/dpdk/worker/worker_plan.h"
#include "dataplane/state/forwarding_state.h"

namespace godwit::dataplane {

class PollSet {
 public:
  static constexpr uint32_t kSilentVisits = 256;  // polls without a frame before a queue is armed

  explicit PollSet(Sleeper& sleeper) : sleeper_(sleeper) {}

  // Takes over changes of the plan, of rings and of the endpoint table. Called once a loop.
  void follow(const ForwardingState& state, WorkerPlan& plan);
  // Polls queues again whose descriptors were signaled. Does nothing if the plan is not the one of
  // the last follow().
  void activate(const WorkerPlan& plan, size_t count, const Sleeper::Tags& queues);
  // Stops polling the k-th active queue. The last one takes its place.
  void retire(size_t k);
  // Marks an active queue as one that cannot be armed.
  void mark_always(WorkerPlan::RxQueue& rx) {
    rx.always = true;
    ++always_;
  }

  [[nodiscard]] size_t size() const { return active_.size(); }
  // Returns the place in the plan of the k-th active queue.
  [[nodiscard]] uint32_t operator[](size_t k) const { return active_[k]; }
  // Returns whether some queue has to be polled in each loop.
  [[nodiscard]] bool any_always() const { return always_ > 0; }
  // Returns whether every queue that can be armed is armed or dormant.
  [[nodiscard]] bool all_armed() const { return active_.size() == always_; }
  // Returns whether state and plan are those of the last follow().
  [[nodiscard]] bool current(const ForwardingState& state, const WorkerPlan& plan) const {
    return state.generation == generation_ && plan.serial == plan_serial_;
  }

 private:
  void add(const WorkerPlan& plan, uint32_t index);

  Sleeper& sleeper_;
  std::vector<uint32_t> active_;  // places in the plan
  std::vector<bool> is_active_;   // by place in the plan
  size_t always_ = 0;             // active queues that cannot be armed
  uint64_t plan_serial_ = 0;
  uint64_t generation_ = 0;
  uint64_t places_changed_ = 0;
};

}  // namespace godwit::dataplane
