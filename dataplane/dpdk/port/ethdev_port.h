// SPDX-License-Identifier: Apache-2.0
//
// A DPDK device as a port, from devargs: what EAL's --vdev or --allow take.
//
// Queues: a NIC with RSS gets as many rx queues as there are workers; devices whose queues come
// from their devargs get all of those, since each that is not polled loses frames. A device with a
// tx queue for each worker is sent to without mailboxes; on others one worker writes the one queue.
//
// Waiting: a kernel interface (net_af_packet) with one queue is waited for by its packet socket.
// What else there is has to be polled: net_memif asks its peer not to interrupt.
//
// Thread safety: as Port's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "dataplane/dpdk/env/mempools.h"
#include "dataplane/dpdk/port/port.h"

namespace godwit::dataplane {

class EthdevPort final : public Port {
 public:
  // Probes, configures and starts the device. Errors say which step failed and why.
  static Result<std::unique_ptr<EthdevPort>> open(PortId id, const EthdevPortSpec& spec,
                                                  uint16_t workers, Mempools& pools,
                                                  bool pci_available);
  ~EthdevPort() override;

  uint16_t receive(uint16_t queue, rte_mempool* pool, rte_mbuf** out, uint16_t most) override;
  uint16_t send(uint16_t queue, rte_mbuf** mbufs, uint16_t count) override;
  Arm arm(uint16_t queue, Sleeper& sleeper, uint32_t tag, uint32_t& watched) override;
  void disarm(uint16_t) override {}
  [[nodiscard]] int numa_node() const override { return numa_node_; }
  void describe(PortInfo& info) const override;
  void close() override;

 private:
  EthdevPort(PortId id, const EthdevPortSpec& spec, uint16_t workers, uint16_t device,
             Mempools& pools);
  Result<void> configure(uint16_t workers);
  Result<void> set_up_queues(uint16_t rx_queues, uint16_t tx_queues);
  Result<void> set_mtu();
  rte_mbuf* linear(rte_mbuf* mbuf);

  const uint16_t device_;  // DPDK's port number
  Mempools& pools_;
  std::string driver_;
  MacAddress mac_;
  int numa_node_ = -1;
  bool open_ = true;
  int wait_fd_ = -1;  // the device's own, signalled by frames; -1: none known
};

}  // namespace godwit::dataplane
