// SPDX-License-Identifier: Apache-2.0
//
// The ports of the switch: their numbers, the placement of their queues, the workers' plans, and
// statistics.
//
// A port is opened, its queues are given to workers, it is published in the directory and the
// plans, and a vhost port's socket is opened last. Removal takes the same steps in reverse, with a
// grace period before anything is freed.
//
// A new port gets the lowest free number. Statistics count from the port's creation or the last
// clear_stats().
//
// Thread safety: the control thread only, apart from the EventQueue, which other threads post to.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "dataplane/dpdk/env/eal.h"
#include "dataplane/dpdk/env/event_queue.h"
#include "dataplane/dpdk/env/mempools.h"
#include "dataplane/dpdk/env/placement.h"
#include "dataplane/dpdk/port/ethdev_port.h"
#include "dataplane/dpdk/port/port.h"
#include "dataplane/dpdk/port/port_directory.h"
#include "dataplane/dpdk/port/vhost_driver.h"
#include "dataplane/dpdk/port/vhost_port.h"
#include "dataplane/dpdk/worker/worker.h"
#include "dataplane/ports.h"

namespace godwit::dataplane {

class PortRegistry final : public Ports {
 public:
  PortRegistry(Eal& eal, PortDirectory& directory, QsbrGrace& grace, Mempools& pools,
               bool pci_available, std::function<void()> wake);
  ~PortRegistry() override;

  // Called once, before the first port is added.
  void set_workers(std::vector<Worker*> workers) { workers_ = std::move(workers); }

  Result<PortId> add_vhost(const VhostPortSpec& spec) override;
  Result<PortId> add_ethdev(const EthdevPortSpec& spec) override;
  Result<void> remove(PortId port) override;
  void remove_all();

  [[nodiscard]] std::vector<PortInfo> list() const override;
  [[nodiscard]] Result<PortInfo> info(PortId port) const override;
  [[nodiscard]] PortStats stats(PortId port) const override;
  void clear_stats(PortId port) override;
  [[nodiscard]] uint64_t first_delivery_ns(PortId port) const override;
  [[nodiscard]] std::vector<PortEvent> poll_events() override;

 private:
  struct Slot {
    std::unique_ptr<Port> port;
    PortStats zero;  // counts to subtract: the workers' counts outlive the port
  };
  [[nodiscard]] Result<PortId> free_number() const;
  Result<void> check_name(const std::string& name) const;
  [[nodiscard]] Port* find(PortId port) const;
  [[nodiscard]] PortStats raw_stats(PortId port) const;
  // Makes the port reachable for workers, after choosing the workers of its queues.
  void publish(std::unique_ptr<Port> port);
  std::unique_ptr<Port> unpublish(PortId port);
  void place(Port& port);
  // Moves the port's queues to workers on its NUMA node.
  void follow_numa(PortId port);
  void publish_plans();

  // Adds the reason that DPDK has logged to an error.
  Unexpected with_reason(const Error& error) const;

  Eal& eal_;
  PortDirectory& directory_;
  QsbrGrace& grace_;
  Mempools& pools_;
  const bool pci_available_;
  EventQueue events_;
  std::vector<Worker*> workers_;
  std::vector<Slot> slots_;  // by PortId
};

}  // namespace godwit::dataplane
