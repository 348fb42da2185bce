// SPDX-License-Identifier: Apache-2.0
//
// Grace periods and deferred reclamation (RCU). Workers report quiescent states; dataplane/dpdk
// implements this with rte_rcu_qsbr. Memory that the writer has unlinked is freed once every worker
// that may have seen it has passed a quiescent state.
//
// Thread safety: only the control thread uses GracePeriod and Reclaimer.
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
  // Starts a grace period and returns its token.
  [[nodiscard]] virtual uint64_t start() = 0;
  // Returns whether each worker has been quiescent or offline since start().
  [[nodiscard]] virtual bool elapsed(uint64_t token) = 0;
  // Blocks until the grace period has elapsed, at most for one loop of the slowest worker.
  virtual void wait(uint64_t token) = 0;
};

// A grace period without workers, which elapses at once. For tests and tools.
class NoWorkers final : public GracePeriod {
 public:
  [[nodiscard]] uint64_t start() override { return 0; }
  [[nodiscard]] bool elapsed(uint64_t) override { return true; }
  void wait(uint64_t) override {}
};

// Runs deferred actions, such as the release of memory, after a grace period each, in order.
class Reclaimer {
 public:
  explicit Reclaimer(GracePeriod& grace) : grace_(grace) {}
  ~Reclaimer() { drain(); }
  Reclaimer(const Reclaimer&) = delete;
  Reclaimer& operator=(const Reclaimer&) = delete;

  // Frees the object after a grace period that starts now. Unlink the object before this call.
  template <typename T>
  void retire(std::unique_ptr<T> object) {
    defer([holder = std::shared_ptr<T>(std::move(object))] {});
  }
  // Calls `action` after a grace period that starts now.
  void defer(std::function<void()> action) {
    pending_.push_back({grace_.start(), std::move(action)});
  }

  // Runs the actions whose grace period has elapsed. Returns how many are still pending. The
  // control thread's timer calls this.
  size_t collect() {
    while (!pending_.empty() && grace_.elapsed(pending_.front().token)) {
      auto action = std::move(pending_.front().action);
      pending_.pop_front();
      action();
    }
    return pending_.size();
  }
  // Waits for all pending actions and runs them.
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
