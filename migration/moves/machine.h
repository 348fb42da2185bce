// SPDX-License-Identifier: Apache-2.0
//
// A state machine as a constant table. source_machine.h and destination_machine.h define the two
// tables of a move.
//
// A machine does no I/O, reads no clock and allocates nothing. It names the actions that its caller
// carries out, in order. Tests iterate over the tables; the simulator replaces them.
//
// Invariant: a table has at most one row for each pair of state and event.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace godwit::migration {

// In state `from`, `event` leads to state `to` after the actions. kNone ends the list of actions.
template <typename StateType, typename EventType, typename ActionType, size_t kMostActions>
struct Transition {
  using State = StateType;
  using Event = EventType;
  using Action = ActionType;

  State from;
  Event event;
  State to;
  std::array<Action, kMostActions> actions;
};

// One run through a table of `Row`, which is a Transition. `Row::State` has kDone and kAborted.
template <typename RowType>
class Machine {
 public:
  using Row = RowType;
  using State = typename Row::State;
  using Event = typename Row::Event;
  using Action = typename Row::Action;
  using Table = std::span<const Row>;

  Machine(Table table, State state) : table_(table), state_(state) {}

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool over() const { return state_ == State::kDone || state_ == State::kAborted; }
  // Returns whether the event has a row in the present state.
  [[nodiscard]] bool takes(Event event) const { return find(event) != nullptr; }
  // Enters the row's next state and returns the row. Returns nullptr, and changes nothing, if the
  // event has no row: late and repeated messages are absorbed this way.
  const Row* step(Event event) {
    const Row* row = find(event);
    if (row != nullptr) state_ = row->to;
    return row;
  }

 private:
  [[nodiscard]] const Row* find(Event event) const {
    for (const Row& row : table_) {
      if (row.from == state_ && row.event == event) return &row;
    }
    return nullptr;
  }

  Table table_;
  State state_;
};

}  // namespace godwit::migration
