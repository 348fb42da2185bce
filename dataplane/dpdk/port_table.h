// SPDX-License-Identifier: Apache-2.0
//
// Ports, made of vhost and ethdev ports: numbers, queue placement, plans, statistics.
//
// A port's way in: opened, its queues given to workers, published in the directory and the plans,
// for vhost its socket opened last. Its way out is the reverse, with a grace period before anything
// is freed.
//
// Numbers are the lowest free ones. Statistics count from a port's birth, or from clear_stats().
//
// Thread safety: the control thread's, but for what EventQueue takes from others.
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
#include "dataplane/dpdk/port/vhost_driver.h"
#include "dataplane/dpdk/port/vhost_port.h"
#include "dataplane/dpdk/worker/worker.h"
#include "dataplane/ports.h"

namespace godwit::dataplane {

class PortTable final : public Ports {
 public:
  PortTable(Eal& eal, PortDirectory& directory, QsbrGrace& grace, Mempools& pools,
            bool pci_available, std::function<void()> wake);
  ~PortTable() override;

  // Once, before the first port.
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
    PortStats zero;  // subtracted: drops outlive their port in the workers
  };
  [[nodiscard]] Result<PortId> free_number() const;
  Result<void> check_name(const std::string& name) const;
  [[nodiscard]] Port* find(PortId port) const;
  [[nodiscard]] PortStats raw_stats(PortId port) const;
  void publish(std::unique_ptr<Port> port);
  std::unique_ptr<Port> unpublish(PortId port);
  void place(Port& port);
  void follow_numa(PortId port);
  void publish_plans();

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
