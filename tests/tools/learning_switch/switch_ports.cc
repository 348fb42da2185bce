// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/learning_switch/switch_ports.h"

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>

namespace godwit::learning_switch {
namespace {

constexpr uint16_t kBurst = 64;
constexpr uint16_t kDescriptors = 1024;

}  // namespace

std::unique_ptr<SwitchPorts> SwitchPorts::open(const std::vector<std::string>& devices,
                                               Status* why) {
  std::unique_ptr<SwitchPorts> made(new SwitchPorts(devices.size()));
  made->pool_ =
      rte_pktmbuf_pool_create("frames", kBuffers, 512, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (made->pool_ == nullptr) {
    *why = Status::error(std::string("no memory for frames: ") + rte_strerror(rte_errno));
    return nullptr;
  }
  for (const std::string& device : devices) {
    *why = made->add(device);
    if (!why->ok()) {
      return nullptr;
    }
  }
  return made;
}

Status SwitchPorts::add(const std::string& device) {
  uint16_t id = 0;
  if (rte_eth_dev_get_port_by_name(device.c_str(), &id) != 0) {
    return Status::error("no device " + device);
  }
  rte_eth_conf conf{};
  const bool started = rte_eth_dev_configure(id, 1, 1, &conf) == 0 &&
                       rte_eth_rx_queue_setup(id, 0, kDescriptors, 0, nullptr, pool_) == 0 &&
                       rte_eth_tx_queue_setup(id, 0, kDescriptors, 0, nullptr) == 0 &&
                       rte_eth_dev_start(id) == 0;
  if (!started) {
    return Status::error("cannot start " + device);
  }
  ports_.push_back({device, id, {}, {}});
  return {};
}

SwitchPorts::~SwitchPorts() {
  for (Port& port : ports_) {
    for (const Waiting& one : port.queue) {
      rte_pktmbuf_free(one.mbuf);
    }
    rte_eth_dev_stop(port.device);
    rte_eth_dev_close(port.device);
  }
}

bool SwitchPorts::up(size_t port) const {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(ports_[port].device, &link) == 0 &&
         link.link_status == RTE_ETH_LINK_UP;
}

void SwitchPorts::pass(size_t in, rte_mbuf* mbuf, int64_t now_ns) {
  const std::span<const uint8_t> frame(rte_pktmbuf_mtod(mbuf, const uint8_t*), mbuf->data_len);
  LearningSwitch::PortMask left = logic_.forward(in, frame, now_ns);
  for (size_t out = 0; left != 0; ++out, left >>= 1) {
    if ((left & 1) == 0) {
      continue;
    }
    Port& port = ports_[out];
    if (port.queue.size() >= kMaxQueued) {
      ++port.counts.tx_overflow;
      continue;
    }
    rte_mbuf* sent = left == 1 ? mbuf : rte_pktmbuf_copy(mbuf, pool_, 0, UINT32_MAX);
    if (sent == nullptr) {
      ++port.counts.no_copy;
      continue;
    }
    if (sent == mbuf) {
      mbuf = nullptr;
    }
    port.queue.push_back({sent, now_ns + latency_ns_});
    port.counts.most_queued = std::max<uint64_t>(port.counts.most_queued, port.queue.size());
  }
  rte_pktmbuf_free(mbuf);
}

void SwitchPorts::send_due(Port& port, int64_t now_ns) {
  std::array<rte_mbuf*, kBurst> mbufs;
  while (!port.queue.empty() && port.queue.front().due_ns <= now_ns) {
    uint16_t count = 0;
    while (count < kBurst && count < port.queue.size() && port.queue[count].due_ns <= now_ns) {
      mbufs[count] = port.queue[count].mbuf;
      ++count;
    }
    const uint16_t sent = rte_eth_tx_burst(port.device, 0, mbufs.data(), count);
    port.counts.tx += sent;
    port.queue.erase(port.queue.begin(), port.queue.begin() + sent);
    if (sent == count) {
      continue;
    }
    if (sent == 0 && !up(static_cast<size_t>(&port - ports_.data()))) {
      rte_pktmbuf_free_bulk(mbufs.data(), count);
      port.counts.tx_down += count;
      port.queue.erase(port.queue.begin(), port.queue.begin() + count);
      continue;
    }
    break;
  }
}

unsigned SwitchPorts::turn(int64_t now_ns) {
  std::array<rte_mbuf*, kBurst> mbufs;
  unsigned total = 0;
  for (size_t in = 0; in < ports_.size(); ++in) {
    const uint16_t count = rte_eth_rx_burst(ports_[in].device, 0, mbufs.data(), kBurst);
    ports_[in].counts.rx += count;
    total += count;
    for (uint16_t i = 0; i < count; ++i) {
      pass(in, mbufs[i], now_ns);
    }
  }
  for (Port& port : ports_) {
    send_due(port, now_ns);
  }
  return total;
}

int64_t SwitchPorts::next_due_ns() const {
  int64_t next = -1;
  for (const Port& port : ports_) {
    if (!port.queue.empty() && (next < 0 || port.queue.front().due_ns < next)) {
      next = port.queue.front().due_ns;
    }
  }
  return next;
}

}  // namespace godwit::learning_switch
