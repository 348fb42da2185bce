// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/runtime.h"

#include <rte_launch.h>
#include <rte_malloc.h>

#include <algorithm>
#include <set>
#include <utility>

#include "dataplane/dpdk/env/eal.h"
#include "dataplane/dpdk/env/mempools.h"
#include "dataplane/dpdk/env/monotonic.h"
#include "dataplane/dpdk/env/placement.h"
#include "dataplane/dpdk/env/qsbr.h"
#include "dataplane/dpdk/port_registry.h"
#include "dataplane/dpdk/worker/mailboxes.h"
#include "dataplane/dpdk/worker/worker.h"
#include "dataplane/dpdk/worker/worker_gate.h"

namespace godwit::dataplane {

// Members are in the order of their creation. They are destroyed in reverse, EAL last.
struct Runtime::Impl {
  RuntimeOptions options;
  std::unique_ptr<Eal> eal;
  std::unique_ptr<Mempools> pools;
  std::unique_ptr<QsbrGrace> grace;
  std::unique_ptr<Mailboxes> mail;
  PortDirectory directory;
  GroupDedupe dedupe;
  std::unique_ptr<WorkerGate> gate;
  std::vector<std::unique_ptr<Worker>> workers;
  std::unique_ptr<PortRegistry> ports;
  StateCell* state_cell = nullptr;
  bool started = false;
  bool stopped = false;
  uint64_t leaked = 0;
  std::vector<WorkerInfo> last_workers;  // reports when the workers ended
  DropTotals last_drops;

  Result<void> build(const std::vector<uint16_t>& cpus, StateCell& state, Fdb& fdb,
                     CounterBank& counters, const std::function<void()>& wake);
  void end_workers();
};

Result<std::vector<uint16_t>> Runtime::worker_cpus(const RuntimeOptions& options) {
  std::vector<uint16_t> cpus = options.worker_cpus;
  if (cpus.empty()) {
    cpus = allowed_cpus();
    if (cpus.size() > 1) cpus.erase(cpus.begin());
    return cpus;
  }
  const std::vector<uint16_t> online = online_cpus();
  for (size_t i = 0; i < cpus.size(); ++i) {
    if (std::find(online.begin(), online.end(), cpus[i]) == online.end()) {
      return fail("workers.cpus names CPU " + std::to_string(cpus[i]) +
                  ", which does not exist or is offline");
    }
    if (std::find(cpus.begin(), cpus.begin() + static_cast<std::ptrdiff_t>(i), cpus[i]) !=
        cpus.begin() + static_cast<std::ptrdiff_t>(i)) {
      return fail("workers.cpus names CPU " + std::to_string(cpus[i]) + " twice");
    }
  }
  return cpus;
}

uint32_t Runtime::now_s() { return static_cast<uint32_t>(coarse_ns() / 1'000'000'000u); }

Result<void> Runtime::Impl::build(const std::vector<uint16_t>& cpus, StateCell& state, Fdb& fdb,
                                  CounterBank& counters, const std::function<void()>& wake) {
  std::vector<int> worker_nodes;
  for (const uint16_t cpu : cpus) worker_nodes.push_back(node_of_cpu(cpu));
  const std::set<int> nodes(worker_nodes.begin(), worker_nodes.end());

  auto made_pools = Mempools::create({nodes.begin(), nodes.end()}, options.mbufs);
  if (!made_pools) return fail(made_pools.error());
  pools = std::move(*made_pools);
  auto made_grace = QsbrGrace::create(static_cast<uint16_t>(cpus.size()));
  if (!made_grace) return fail(made_grace.error());
  grace = std::move(*made_grace);
  auto made_mail = Mailboxes::create(worker_nodes);
  if (!made_mail) return fail(made_mail.error());
  mail = std::move(*made_mail);
  auto made_gate = WorkerGate::create(worker_nodes, *pools, *mail, directory, state, wake);
  if (!made_gate) return fail(made_gate.error());
  gate = std::move(*made_gate);

  const WorkerDeps deps{state, fdb, counters, dedupe, *grace, *pools, *mail, *gate, directory};
  std::vector<Worker*> all;
  for (uint16_t id = 0; id < cpus.size(); ++id) {
    workers.push_back(std::make_unique<Worker>(
        Worker::Config{WorkerId(id), Eal::lcore_of(id), cpus[id], worker_nodes[id], options.spin_us,
                       options.max_sleep_us, options.poll_us, options.park},
        deps));
    all.push_back(workers.back().get());
  }
  gate->set_workers({all.begin(), all.end()});
  ports = std::make_unique<PortRegistry>(*eal, directory, *grace, *pools, options.pci, wake);
  ports->set_workers(all);
  state_cell = &state;
  state.on_publish([this] {
    for (const auto& worker : workers) worker->wake();
  });
  return {};
}

Result<std::unique_ptr<Runtime>> Runtime::create(const RuntimeOptions& options, StateCell& state,
                                                 Fdb& fdb, CounterBank& counters,
                                                 std::function<void()> wake) {
  auto cpus = worker_cpus(options);
  if (!cpus) return fail(cpus.error());
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  auto eal = Eal::start(options, *cpus);
  if (!eal) return fail(eal.error());
  impl->eal = std::move(*eal);
  if (auto built = impl->build(*cpus, state, fdb, counters, wake); !built)
    return fail(built.error());
  return std::unique_ptr<Runtime>(new Runtime(std::move(impl)));
}

Runtime::Runtime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Runtime::~Runtime() { stop(); }

Result<void> Runtime::start() {
  if (impl_->started) return fail("the workers are running already");
  for (const auto& worker : impl_->workers) {
    const auto enter = [](void* argument) {
      static_cast<Worker*>(argument)->run();
      return 0;
    };
    if (const int error = rte_eal_remote_launch(enter, worker.get(), worker->config().lcore);
        error != 0) {
      impl_->end_workers();
      return fail("worker " + std::to_string(worker->config().id.value) + " cannot start");
    }
  }
  impl_->started = true;
  return {};
}

void Runtime::Impl::end_workers() {
  for (const auto& worker : workers) worker->request_stop();
  for (const auto& worker : workers) rte_eal_wait_lcore(worker->config().lcore);
}

void Runtime::stop() {
  Impl& impl = *impl_;
  if (impl.stopped) return;
  impl.end_workers();
  impl.last_workers = workers();
  impl.last_drops = drops();
  impl.stopped = true;
  impl.ports->remove_all();
  impl.ports->set_workers({});
  impl.gate->set_workers({});
  impl.state_cell->on_publish({});
  for (const auto& worker : impl.workers) worker->finish();
  impl.workers.clear();  // frees parked packets
  impl.gate->abandon();
  impl.leaked = impl.pools->in_use();
  if (impl.leaked != 0) {
    impl.eal->log(RuntimeLogLevel::kError, std::to_string(impl.leaked) + " buffers were lost");
  }
}

Ports& Runtime::ports() { return *impl_->ports; }
PacketGate& Runtime::gate() { return *impl_->gate; }
GracePeriod& Runtime::grace() { return *impl_->grace; }
uint64_t Runtime::leaked_buffers() const { return impl_->leaked; }

std::vector<WorkerInfo> Runtime::workers() const {
  if (impl_->stopped) return impl_->last_workers;
  std::vector<WorkerInfo> out;
  for (const auto& worker : impl_->workers) out.push_back(worker->info());
  return out;
}

DropTotals Runtime::drops() const {
  if (impl_->stopped) return impl_->last_drops;
  DropTotals out;
  for (size_t i = 0; i < kDropCount; ++i) out.drops[i] = impl_->gate->drops(static_cast<Drop>(i));
  for (const auto& worker : impl_->workers) {
    for (uint16_t port = 0; port <= kMaxPorts; ++port) {
      for (size_t i = 0; i < kDropCount; ++i)
        out.drops[i] += worker->drops().read(PortId(port), static_cast<Drop>(i));
    }
    const PipelineCounts& counts = worker->pipeline().counts();
    out.unpoliced += counts.unpoliced.load(std::memory_order_relaxed);
    out.parked += counts.parked.load(std::memory_order_relaxed);
    out.unparked += counts.unparked.load(std::memory_order_relaxed);
    out.redirected += worker->redirected();
    out.injected += counts.injected.load(std::memory_order_relaxed);
  }
  return out;
}

MemoryInfo Runtime::memory() const {
  MemoryInfo out;
  out.hugepages = impl_->options.hugepages;
  out.pools = impl_->pools->info();
  std::set<int> nodes;
  for (const MemoryInfo::Pool& pool : out.pools) nodes.insert(pool.numa_node);
  for (const int node : nodes) {
    rte_malloc_socket_stats stats{};
    if (rte_malloc_get_socket_stats(node, &stats) != 0) continue;
    out.heaps.push_back({node, stats.heap_totalsz_bytes, stats.heap_freesz_bytes});
  }
  return out;
}

}  // namespace godwit::dataplane
