// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/port_registry.h"

#include <algorithm>
#include <utility>

namespace godwit::dataplane {
namespace {

constexpr uint16_t kLeastMtu = 68;
constexpr uint16_t kMostMtu = 9216;
constexpr size_t kMostPathBytes = 107;  // sun_path without its final zero

PortStats minus(PortStats from, const PortStats& zero) {
  from.rx.packets -= zero.rx.packets;
  from.rx.bytes -= zero.rx.bytes;
  from.tx.packets -= zero.tx.packets;
  from.tx.bytes -= zero.tx.bytes;
  for (size_t i = 0; i < kDropCount; ++i) from.drops[i] -= zero.drops[i];
  return from;
}

Result<void> check_mtu(uint16_t mtu) {
  if (mtu >= kLeastMtu && mtu <= kMostMtu) return {};
  return fail("MTU " + std::to_string(mtu) + " is not in 68..9216");
}

}  // namespace

PortRegistry::PortRegistry(Eal& eal, PortDirectory& directory, QsbrGrace& grace, Mempools& pools,
                           bool pci_available, std::function<void()> wake)
    : eal_(eal),
      directory_(directory),
      grace_(grace),
      pools_(pools),
      pci_available_(pci_available),
      events_(std::move(wake)) {}

PortRegistry::~PortRegistry() { remove_all(); }

Port* PortRegistry::find(PortId port) const {
  return port.value < slots_.size() ? slots_[port.value].port.get() : nullptr;
}

Unexpected PortRegistry::with_reason(const Error& error) const {
  const std::string why = eal_.first_error();
  return fail(why.empty() ? error.message : error.message + " (" + why + ")");
}

Result<PortId> PortRegistry::free_number() const {
  for (uint16_t number = 0; number < kMaxPorts; ++number) {
    if (find(PortId(number)) == nullptr) return PortId(number);
  }
  return fail("all " + std::to_string(kMaxPorts) + " port numbers are in use");
}

Result<void> PortRegistry::check_name(const std::string& name) const {
  for (const Slot& slot : slots_) {
    if (slot.port && slot.port->name == name)
      return fail("port " + std::to_string(slot.port->id.value) + " has the name " + name +
                  " already");
  }
  return {};
}

Result<PortId> PortRegistry::add_vhost(const VhostPortSpec& spec) {
  if (auto ok = check_name(spec.name); !ok) return fail(ok.error());
  if (auto ok = check_mtu(spec.mtu); !ok) return fail(ok.error());
  if (spec.socket_path.empty() || spec.socket_path.size() > kMostPathBytes) {
    return fail("the socket path has " + std::to_string(spec.socket_path.size()) +
                " bytes, expected 1 to 107");
  }
  if (spec.queue_pairs == 0 || spec.queue_pairs > VhostPort::kMaxQueuePairs) {
    return fail(std::to_string(spec.queue_pairs) + " queue pairs, expected 1 to " +
                std::to_string(VhostPort::kMaxQueuePairs));
  }
  auto number = free_number();
  if (!number) return number;
  if (spec.mtu + kEthernetBytes + 2 * kVlanTagBytes > kSmallFrameBytes) {
    if (auto made = pools_.need_large(); !made) return fail(made.error());
  }
  auto port = std::make_unique<VhostPort>(*number, spec, static_cast<uint16_t>(workers_.size()),
                                          events_, grace_, [this] {
                                            for (Worker* worker : workers_) worker->attend();
                                          });
  VhostPort& vhost = *port;
  publish(std::move(port));
  // The socket is opened last: front-ends may connect at once, and their frames need a worker.
  eal_.forget_errors();
  if (auto opened = register_vhost(vhost); !opened) {
    unpublish(*number);
    events_.forget(*number);
    return with_reason(opened.error());
  }
  return number;
}

Result<PortId> PortRegistry::add_ethdev(const EthdevPortSpec& spec) {
  if (auto ok = check_name(spec.name); !ok) return fail(ok.error());
  if (auto ok = check_mtu(spec.mtu); !ok) return fail(ok.error());
  auto number = free_number();
  if (!number) return number;
  if (spec.mtu + kEthernetBytes + 2 * kVlanTagBytes > kSmallFrameBytes) {
    if (auto made = pools_.need_large(); !made) return fail(made.error());
  }
  eal_.forget_errors();
  auto port = EthdevPort::open(*number, spec, static_cast<uint16_t>(workers_.size()), pools_,
                               pci_available_);
  if (!port) return with_reason(port.error());
  publish(std::move(*port));
  return number;
}

void PortRegistry::publish(std::unique_ptr<Port> port) {
  const PortId id = port->id;
  if (slots_.size() <= id.value) slots_.resize(id.value + 1u);
  place(*port);
  directory_.set(id, port.get());
  Slot& slot = slots_[id.value];
  slot.port = std::move(port);
  slot.zero = PortStats{};
  slot.zero = raw_stats(id);
  publish_plans();
}

std::unique_ptr<Port> PortRegistry::unpublish(PortId id) {
  std::unique_ptr<Port> port = std::move(slots_[id.value].port);
  directory_.set(id, nullptr);
  publish_plans();  // waits until no worker can reach the port
  return port;
}

Result<void> PortRegistry::remove(PortId id) {
  if (find(id) == nullptr) return fail("no port " + std::to_string(id.value));
  const std::unique_ptr<Port> port = unpublish(id);
  port->close();
  events_.forget(id);
  return {};
}

void PortRegistry::remove_all() {
  for (uint16_t number = 0; number < slots_.size(); ++number) {
    if (slots_[number].port) (void)remove(PortId(number));
  }
}

void PortRegistry::place(Port& port) {
  std::vector<WorkerLoad> loads;
  for (const Worker* worker : workers_)
    loads.push_back({worker->config().id, worker->config().node, 0});
  for (const Slot& slot : slots_) {
    if (!slot.port || slot.port.get() == &port) continue;
    for (const WorkerId worker : slot.port->rx_workers) ++loads[worker.value].queues;
  }
  port.rx_workers.clear();
  for (uint16_t queue = 0; queue < port.rx_queues(); ++queue) {
    const WorkerId worker = place_queue(loads, port.numa_node());
    ++loads[worker.value].queues;
    port.rx_workers.push_back(worker);
  }
  // Both rings of a queue pair have the same worker, which often writes what it has just read.
  for (uint16_t queue = 0; queue < std::min(port.tx_queues(), kMaxTxQueues); ++queue) {
    port.set_owner(queue, port.rx_workers[queue % port.rx_workers.size()]);
  }
}

void PortRegistry::publish_plans() {
  std::vector<std::unique_ptr<WorkerPlan>> old;
  for (Worker* worker : workers_) {
    auto plan = std::make_unique<WorkerPlan>();
    for (const Slot& slot : slots_) {
      if (!slot.port) continue;
      Port& port = *slot.port;
      for (uint16_t queue = 0; queue < port.rx_workers.size(); ++queue) {
        if (port.rx_workers[queue] != worker->config().id) continue;
        rte_mempool* pool = pools_.for_frame(worker->config().node,
                                             port.mtu() + kEthernetBytes + 2 * kVlanTagBytes);
        plan->queues.push_back(
            {&port, queue, pool == nullptr ? pools_.small(worker->config().node) : pool, 0});
      }
    }
    old.push_back(worker->set_plan(std::move(plan)));
  }
  grace_.wait(grace_.start());
}

// The memory of a vhost port is known once its front-end has connected.
void PortRegistry::follow_numa(PortId id) {
  Port* port = find(id);
  if (port == nullptr || port->numa_node() < 0) return;
  const auto on_node = [&](WorkerId worker) {
    return workers_[worker.value]->config().node == port->numa_node();
  };
  const bool possible = std::any_of(workers_.begin(), workers_.end(),
                                    [&](const Worker* w) { return on_node(w->config().id); });
  if (!possible || std::all_of(port->rx_workers.begin(), port->rx_workers.end(), on_node)) return;
  place(*port);
  publish_plans();
}

std::vector<PortEvent> PortRegistry::poll_events() {
  std::vector<PortEvent> events = events_.take();
  for (const PortEvent& event : events) {
    if (event.kind == PortEventKind::kRingsRunning) follow_numa(event.port);
  }
  return events;
}

Result<PortInfo> PortRegistry::info(PortId id) const {
  const Port* port = find(id);
  if (port == nullptr) return fail("no port " + std::to_string(id.value));
  PortInfo info;
  info.id = id;
  info.name = port->name;
  info.kind = port->kind;
  info.detail = port->detail;
  info.mtu = port->mtu();
  info.rx_queues = port->rx_queues();
  info.tx_queues = port->tx_queues();
  info.numa_node = port->numa_node();
  for (const WorkerId worker : port->rx_workers) info.queue_workers.push_back(worker.value);
  port->describe(info);
  return info;
}

std::vector<PortInfo> PortRegistry::list() const {
  std::vector<PortInfo> out;
  for (const Slot& slot : slots_) {
    if (!slot.port) continue;
    if (auto one = info(slot.port->id)) out.push_back(std::move(*one));
  }
  return out;
}

PortStats PortRegistry::raw_stats(PortId id) const {
  PortStats out;
  const Port* port = find(id);
  if (port == nullptr) return out;
  for (const Worker* worker : workers_) {
    const PortCell& cell = port->cell(worker->config().id);
    out.rx += {cell.rx_packets.load(std::memory_order_relaxed),
               cell.rx_bytes.load(std::memory_order_relaxed)};
    out.tx += {cell.tx_packets.load(std::memory_order_relaxed),
               cell.tx_bytes.load(std::memory_order_relaxed)};
    for (size_t i = 0; i < kDropCount; ++i)
      out.drops[i] += worker->drops().read(id, static_cast<Drop>(i));
  }
  return out;
}

PortStats PortRegistry::stats(PortId id) const {
  return find(id) == nullptr ? PortStats{} : minus(raw_stats(id), slots_[id.value].zero);
}

void PortRegistry::clear_stats(PortId id) {
  if (find(id) != nullptr) slots_[id.value].zero = raw_stats(id);
}

uint64_t PortRegistry::first_delivery_ns(PortId id) const {
  const Port* port = find(id);
  return port == nullptr ? 0 : port->first_delivery_ns();
}

}  // namespace godwit::dataplane
