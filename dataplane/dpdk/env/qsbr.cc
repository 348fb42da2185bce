// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/qsbr.h"

#include <rte_malloc.h>

#include <ctime>

namespace godwit::dataplane {

Result<std::unique_ptr<QsbrGrace>> QsbrGrace::create(uint16_t workers) {
  const size_t bytes = rte_rcu_qsbr_get_memsize(workers);
  auto* qsbr = static_cast<rte_rcu_qsbr*>(rte_zmalloc("godwit_qsbr", bytes, RTE_CACHE_LINE_SIZE));
  if (qsbr == nullptr) return fail("no memory for the grace periods of the workers");
  std::unique_ptr<QsbrGrace> grace(new QsbrGrace(qsbr));
  if (rte_rcu_qsbr_init(qsbr, workers) != 0)
    return fail("rte_rcu_qsbr_init refused " + std::to_string(workers) + " workers");
  for (uint16_t worker = 0; worker < workers; ++worker) {
    if (rte_rcu_qsbr_thread_register(qsbr, worker) != 0)
      return fail("rte_rcu_qsbr cannot register a worker");
  }
  return grace;
}

QsbrGrace::~QsbrGrace() { rte_free(qsbr_); }

void QsbrGrace::wait(uint64_t token) {
  // A worker with a CPU of its own finishes a loop in a few microseconds. One that shares this CPU
  // cannot while this thread spins, so the thread sleeps after a while.
  for (int spins = 0; spins < 64; ++spins) {
    if (elapsed(token)) return;
    rte_pause();
  }
  while (!elapsed(token)) {
    const timespec nap{0, 10'000};
    nanosleep(&nap, nullptr);
  }
}

}  // namespace godwit::dataplane
