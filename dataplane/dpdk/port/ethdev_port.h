// SPDX-License-Identifier: Apache-2.0
//
// A port that is a DPDK Ethernet device. Devargs name the device, in the form that EAL's --vdev and
// --allow take.
//
// Rx queues: a NIC with RSS gets one for each worker, up to the device's limit. A device whose
// queues come from its devargs gets all of those, since frames on a queue that is not polled are
// lost. Other devices get one. No device gets more than 64.
//
// Tx queues: a device that supports it gets one for each worker, and every worker sends by its own.
// Other devices get one, which a single worker writes. The other workers pass their frames to that
// worker through mailboxes (dataplane/dpdk/worker/mailboxes.h). net_memif and net_virtio_user
// always get one, since their peer decides how many it reads.
//
// Sleep: a worker can sleep until a frame arrives only if the device is a kernel interface
// (net_af_packet) with one rx queue. It then watches the device's packet socket. All other devices
// have to be polled, since they announce no frames. For example, net_memif asks its peer not to
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
  // Probes, configures and starts the device. Returns an error that names the step that failed and
  // the reason. `pools` must outlive the port. `pci_available` is false if EAL was started without
  // PCI, in which case PCI devargs are refused.
  static Result<std::unique_ptr<EthdevPort>> open(PortId id, const EthdevPortSpec& spec,
                                                  uint16_t workers, Mempools& pools,
                                                  bool pci_available);
  ~EthdevPort() override;

  uint16_t receive(uint16_t queue, rte_mempool* pool, rte_mbuf** out, uint16_t most) override;
  uint16_t send(uint16_t queue, rte_mbuf** mbufs, uint16_t count) override;
  // Sets `watched` to 1 once `sleeper` watches the device, so that it is added only once. Returns
  // kPolled if the device cannot be watched.
  Arm arm(uint16_t queue, Sleeper& sleeper, uint32_t tag, uint32_t& watched) override;
  // Does nothing, since the device keeps announcing frames.
  void disarm(uint16_t) override {}
  [[nodiscard]] int numa_node() const override { return numa_node_; }
  void describe(PortInfo& info) const override;
  void close() override;

 private:
  EthdevPort(PortId id, const EthdevPortSpec& spec, uint16_t workers, uint16_t device,
             Mempools& pools);
  // Configures and starts the device after the constructor has run. Returns the step that failed.
  Result<void> configure(uint16_t workers);
  Result<void> set_up_queues(uint16_t rx_queues, uint16_t tx_queues);
  Result<void> set_mtu();
  // Returns a copy of the frame in one buffer and frees the original. Returns the frame itself,
  // unchanged, if no buffer is long enough or free.
  rte_mbuf* linear(rte_mbuf* mbuf);

  const uint16_t device_;  // number of the device in DPDK
  Mempools& pools_;
  std::string driver_;
  MacAddress mac_;
  int numa_node_ = -1;
  bool open_ = true;  // false after close()
  // The device's packet socket, which is readable while frames wait. -1 if the device has to be
  // polled. The driver owns the socket.
  int wait_fd_ = -1;
};

}  // namespace godwit::dataplane
