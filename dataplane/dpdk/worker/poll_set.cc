// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/worker/poll_set.h"

namespace godwit::dataplane {

void PollSet::add(const WorkerPlan& plan, uint32_t index) {
  is_active_[index] = true;
  active_.push_back(index);
  plan.queues[index].port->disarm(plan.queues[index].queue);
}

void PollSet::follow(const ForwardingState& state, WorkerPlan& plan) {
  const bool attend = sleeper_.take_attention();
  const bool other_plan = plan.serial != plan_serial_;
  const bool other_endpoints = state.places_changed != places_changed_;
  generation_ = state.generation;
  if (!attend && !other_plan && !other_endpoints) return;
  places_changed_ = state.places_changed;
  plan_serial_ = plan.serial;
  if (other_plan) {
    sleeper_.forget();
    active_.clear();
    is_active_.assign(plan.queues.size(), false);
  }
  always_ = 0;
  for (uint32_t i = 0; i < plan.queues.size(); ++i) {
    plan.queues[i].always = false;
    if (is_active_[i]) continue;
    add(plan, i);
    plan.queues[i].silent = kSilentVisits - 1;
  }
}

void PollSet::activate(const WorkerPlan& plan, size_t count, const Sleeper::Tags& queues) {
  if (plan.serial != plan_serial_) return;
  for (size_t k = 0; k < count; ++k) {
    if (queues[k] < plan.queues.size() && !is_active_[queues[k]]) add(plan, queues[k]);
  }
}

void PollSet::retire(size_t k) {
  is_active_[active_[k]] = false;
  active_[k] = active_.back();
  active_.pop_back();
}

}  // namespace godwit::dataplane
