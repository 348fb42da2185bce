// SPDX-License-Identifier: Apache-2.0
//
// Grace periods by rte_rcu_qsbr. Each worker is one reader: online while it may hold a pointer to
// something published, offline while it sleeps, before it runs and after it has ended.
//
// Thread safety: start(), elapsed() and wait() by any thread but the workers: the control thread,
// and librte_vhost's thread in destroy_device(). enter(), leave() and quiescent() by the named
// worker.
#pragma once

#include <rte_rcu_qsbr.h>

#include <cstdint>
#include <memory>

#include "base/ids.h"
#include "base/rcu.h"
#include "base/result.h"

namespace godwit::dataplane {

class QsbrGrace final : public GracePeriod {
 public:
  static Result<std::unique_ptr<QsbrGrace>> create(uint16_t workers);
  ~QsbrGrace() override;
  QsbrGrace(const QsbrGrace&) = delete;
  QsbrGrace& operator=(const QsbrGrace&) = delete;

  [[nodiscard]] uint64_t start() override { return rte_rcu_qsbr_start(qsbr_); }
  [[nodiscard]] bool elapsed(uint64_t token) override {
    return rte_rcu_qsbr_check(qsbr_, token, false) == 1;
  }
  void wait(uint64_t token) override;

  void enter(WorkerId worker) { rte_rcu_qsbr_thread_online(qsbr_, worker.value); }
  void leave(WorkerId worker) { rte_rcu_qsbr_thread_offline(qsbr_, worker.value); }
  void quiescent(WorkerId worker) { rte_rcu_qsbr_quiescent(qsbr_, worker.value); }

 private:
  explicit QsbrGrace(rte_rcu_qsbr* qsbr) : qsbr_(qsbr) {}
  rte_rcu_qsbr* const qsbr_;
};

}  // namespace godwit::dataplane
