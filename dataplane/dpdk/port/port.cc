// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/port/port.h"

#include <algorithm>
#include <utility>

#include "dataplane/dpdk/env/monotonic.h"

namespace godwit::dataplane {
namespace {

uint32_t next_serial() {
  static std::atomic<uint32_t> serial{0};
  return ++serial;
}

}  // namespace

Port::Port(PortId port_id, PortKind port_kind, std::string port_name, std::string port_detail,
           uint16_t mtu, uint16_t workers)
    : id(port_id),
      kind(port_kind),
      serial(next_serial()),
      name(std::move(port_name)),
      detail(std::move(port_detail)),
      mtu_(mtu),
      workers_(workers),
      cells_(workers) {}

void Port::set_queues(uint16_t rx_queues, uint16_t tx_queues, bool queue_per_worker) {
  rx_queues_ = rx_queues;
  tx_queues_ = tx_queues;
  queue_per_worker_ = queue_per_worker;
  batch_stride_ = queue_per_worker ? uint16_t{1} : std::max<uint16_t>(tx_queues, 1);
  batches_ = std::vector<TxBatch>(size_t{workers_} * batch_stride_);
}

void Port::first_delivery_now() {
  first_delivery_ns_.store(monotonic_ns(), std::memory_order_relaxed);
}

}  // namespace godwit::dataplane
