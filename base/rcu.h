// SPDX-License-Identifier: Apache-2.0
//
// Grace periods and deferred reclaim. Workers report quiescent states (dpdk/ uses rte_rcu_qsbr);
// what the writer has unlinked is freed once every worker that might have seen it has passed one.
//
// Thread safety: Reclaimer belongs to the control thread. GracePeriod's methods are called there
// too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

namespace godwit {

class GracePeriod {
 public:
  virtual ~GracePeriod() = default;
  // A token for "now": elapsed(token) once each worker has been quiescent or offline since.
  [[nodiscard]] virtual uint64_t start() = 0;
  [[nodiscard]] virtual bool elapsed(uint64_t token) = 0;
  // Blocks until elapsed; bounded by one loop of the slowest worker.
  virtual void wait(uint64_t token) = 0;
};

// No workers: everything has always elapsed. For tests and tools.
class NoWorkers final : public GracePeriod {
 public:
  [[nodiscard]] uint64_t start() override { return 0; }
  [[nodiscard]] bool elapsed(uint64_t) override { return true; }
  void wait(uint64_t) override {}
};

class Reclaimer {
 public:
  explicit Reclaimer(GracePeriod& grace) : grace_(grace) {}
  ~Reclaimer() { drain(); }
  Reclaimer(const Reclaimer&) = delete;
  Reclaimer& operator=(const Reclaimer&) = delete;

  // Frees, or calls, after a grace period that starts no earlier than now: unlink first, then
  // retire.
  template <typename T>
  void retire(std::unique_ptr<T> object) {
    defer([holder = std::shared_ptr<T>(std::move(object))] {});
  }
  void defer(std::function<void()> action) {
    pending_.push_back({grace_.start(), std::move(action)});
  }

  // Runs what has become safe; returns how many are still waiting. Called from the control thread's
  // timer.
  size_t collect() {
    while (!pending_.empty() && grace_.elapsed(pending_.front().token)) {
      auto action = std::move(pending_.front().action);
      pending_.pop_front();
      action();
    }
    return pending_.size();
  }
  // Waits for all.
  void drain() {
    while (!pending_.empty()) {
      grace_.wait(pending_.front().token);
      auto action = std::move(pending_.front().action);
      pending_.pop_front();
      action();
    }
  }
  [[nodiscard]] size_t pending() const { return pending_.size(); }
  [[nodiscard]] GracePeriod& grace() { return grace_; }

 private:
  struct Entry {
    uint64_t token;
    std::function<void()> action;
  };
  GracePeriod& grace_;
  std::deque<Entry> pending_;
};

}  // namespace godwit
