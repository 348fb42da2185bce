// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/qsbr.h"

#include <rte_malloc.h>

#include <ctime>

namespace godwit::dataplane {

Result<std::unique_ptr<QsbrGrace>> QsbrGrace::create(uint16_t workers) {
  const size_t bytes = rte_rcu_qsbr_get_memsize(workers);
  auto* qsbr = static_cast<rte_rcu_qsbr*>(rte_zmalloc("godwit_qsbr", bytes, RTE_CACHE_LINE_SIZE));
  if (qsbr == nullptr) return fail("no memory for the workers' grace periods");
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
  // A worker's loop is a few microseconds when it has a CPU; where it shares one, spinning here
  // would keep it from it.
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
