// SPDX-License-Identifier: Apache-2.0
//
// Runs the machine of one move: takes events, has the move carry out the actions, and keeps the log
// and the status.
//
// Invariants: events are taken one after the other. An event that is caused by an action waits
// until the actions before it are done. An action that fails names an event, which takes the place
// of the remaining actions of its row.
//
// Thread safety: the control thread only.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "migration/moves/move_context.h"

namespace godwit::migration {

template <typename MachineType>
class MoveProgress {
 public:
  using State = typename MachineType::State;
  using Event = typename MachineType::Event;
  using Action = typename MachineType::Action;

  struct Occurrence {
    Event event;
    std::string why;  // for people; may be empty
  };
  // An event to take instead of the row's remaining actions.
  using Failure = std::optional<Occurrence>;

  struct Handlers {
    std::function<Failure(Action action)> act;
    std::function<void(State before)> settled;  // after the last action of each row that was taken
  };

  // `status` belongs to the move, and outlives this object.
  MoveProgress(const MoveContext& context, MoveRole role, MachineType machine, MoveStatus& status,
               Handlers handlers)
      : context_(context),
        role_(role),
        machine_(std::move(machine)),
        status_(status),
        handlers_(std::move(handlers)),
        totals_before_(context.gate.totals()) {}
  MoveProgress(const MoveProgress&) = delete;
  MoveProgress& operator=(const MoveProgress&) = delete;

  [[nodiscard]] State state() const { return machine_.state(); }
  [[nodiscard]] bool over() const { return machine_.over(); }
  // Returns the last reason that came with an event.
  [[nodiscard]] const std::string& why() const { return why_; }

  // Writes the present state into the status as its first step.
  void begin(const std::string& why = {}) {
    if (!why.empty()) why_ = why;
    note_step(status_, context_.clock.now_ns(), name_of(machine_.state()), {}, why);
  }
  // Begins in another state, for a move that continues after a restart.
  void resume(MachineType machine, const std::string& why) {
    machine_ = std::move(machine);
    begin(why);
  }

  // Returns the status with the state and with what the switch has parked during the move.
  [[nodiscard]] MoveStatus report() const {
    MoveStatus status = status_;
    status.state = std::string(name_of(machine_.state()));
    const dataplane::WindowTotals now = machine_.over() ? totals_after_ : context_.gate.totals();
    status.parked = now.parked - totals_before_.parked;
    status.park_overflow = now.park_overflow - totals_before_.park_overflow;
    status.redirect_duplicate = now.redirect_duplicate - totals_before_.redirect_duplicate;
    return status;
  }

  // Takes the event, and all events that follow from it. Only queues the event if one is being
  // taken.
  void take(Event event, std::string why = {}) {
    waiting_.push_back({event, std::move(why)});
    if (std::exchange(running_, true)) return;
    while (!waiting_.empty()) {
      const Occurrence next = std::move(waiting_.front());
      waiting_.pop_front();
      step(next);
    }
    running_ = false;
  }

 private:
  void step(const Occurrence& next) {
    const State before = machine_.state();
    const auto* row = machine_.step(next.event);
    if (row == nullptr) return;
    if (!next.why.empty()) why_ = next.why;
    if (before != row->to) note(before, next);
    for (const Action action : row->actions) {
      if (action == Action::kNone) break;
      context_.watch(role_, name_of(action), false);
      Failure failure = handlers_.act(action);
      context_.watch(role_, name_of(action), true);
      if (failure && machine_.takes(failure->event)) {
        waiting_.push_front(std::move(*failure));
        return;
      }
    }
    if (machine_.over()) totals_after_ = context_.gate.totals();
    handlers_.settled(before);
  }

  void note(State before, const Occurrence& next) {
    context_.log("move " + status_.id + " of " + status_.vm +
                 (role_ == MoveRole::kSource ? " to " : " from ") + status_.peer + ": " +
                 std::string(name_of(before)) + " -> " + std::string(name_of(machine_.state())) +
                 " on " + std::string(name_of(next.event)) +
                 (next.why.empty() ? "" : " (" + next.why + ")"));
    note_step(status_, context_.clock.now_ns(), name_of(machine_.state()), name_of(next.event),
              next.why);
    status_.deadline_ns = 0;
    context_.changed();
  }

  const MoveContext& context_;
  const MoveRole role_;
  MachineType machine_;
  MoveStatus& status_;
  Handlers handlers_;
  std::string why_;
  const dataplane::WindowTotals totals_before_;  // of the whole switch, when the move began
  dataplane::WindowTotals totals_after_;         // and when it ended
  std::deque<Occurrence> waiting_;
  bool running_ = false;
};

}  // namespace godwit::migration
