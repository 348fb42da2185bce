// SPDX-License-Identifier: Apache-2.0
//
// A DPDK device as a port, named by devargs as EAL's --vdev and --allow take them.
//
// Queues: a NIC with RSS gets as many rx queues as there are workers. A device whose queues come
// from its devargs gets all of those, since frames on a queue that is not polled are lost. A device
// with a tx queue for each worker is sent to without mailboxes. On other devices one worker writes
// the single tx queue.
//
// Waiting: a worker waits for a kernel interface (net_af_packet) with one queue by its packet
// socket. All other devices have to be polled; net_memif, for example, asks its peer not to
// interrupt.
//
// Thread safety: as for Port.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "dataplane/dpdk/env/mempools.h"
#include "dataplane/dpdk/port/port.h"

namespace godwit::dataplane {

class EthdevPort final : public Port {
 public:
  // Probes, configures and starts the device. The error names the step that failed and the reason.
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

  const uint16_t device_;  // port number in DPDK
  Mempools& pools_;
  std::string driver_;
  MacAddress mac_;
  int numa_node_ = -1;
  bool open_ = true;
  int wait_fd_ = -1;  // the device's descriptor, signaled by frames; -1 if not known
};

}  // namespace godwit::dataplane
