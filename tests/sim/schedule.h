// SPDX-License-Identifier: Apache-2.0
//
// Simulated time: events and when they happen. Nothing sleeps; time jumps to the next event. Events
// of one instant happen in the order in which they were planned.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace godwit::sim {

inline constexpr uint64_t kUs = 1'000;
inline constexpr uint64_t kMs = 1'000'000;
inline constexpr uint64_t kSecond = 1'000'000'000;

class Schedule {
 public:
  using Action = std::function<void()>;

  Schedule() { heap_.reserve(256); }
  [[nodiscard]] uint64_t now() const { return now_; }
  void after(uint64_t ns, Action action) { at(now_ + ns, std::move(action)); }
  void at(uint64_t ns, Action action) {
    uint32_t place;
    if (free_.empty()) {
      place = static_cast<uint32_t>(actions_.size());
      actions_.emplace_back();
    } else {
      place = free_.back();
      free_.pop_back();
    }
    actions_[place] = std::move(action);
    heap_.push_back({std::max(ns, now_), number_++, place});
    std::push_heap(heap_.begin(), heap_.end());
  }
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] uint64_t events() const { return events_; }
  // Runs the next event.
  void step() {
    std::pop_heap(heap_.begin(), heap_.end());
    const Entry next = heap_.back();
    heap_.pop_back();
    now_ = next.at;
    ++events_;
    const Action action = std::move(actions_[next.place]);
    actions_[next.place] = nullptr;
    free_.push_back(next.place);
    action();
  }

 private:
  struct Entry {
    uint64_t at, number;
    uint32_t place;
    // The heap has its greatest entry first, so the earliest event is the greatest.
    bool operator<(const Entry& other) const {
      return at != other.at ? at > other.at : number > other.number;
    }
  };
  std::vector<Entry> heap_;
  std::vector<Action> actions_;
  std::vector<uint32_t> free_;
  uint64_t now_ = 0, number_ = 0, events_ = 0;
};

}  // namespace godwit::sim
