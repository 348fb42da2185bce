// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/port/ethdev_port.h"

#include <dirent.h>
#include <linux/if_packet.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "dataplane/dpdk/env/mbuf_packet.h"
#include "dataplane/dpdk/env/runtime_options.h"

namespace godwit::dataplane {
namespace {

constexpr uint16_t kDescriptors = 512;
constexpr uint16_t kMaxRxQueues = 64;

// Drivers whose rx queues come from the devargs, each fed by the kernel or a peer.
constexpr std::array<std::string_view, 4> kQueuesByDevargs{"net_af_packet", "net_af_xdp",
                                                           "net_pcap", "net_ring"};
// Drivers whose peer decides how many of our tx queues it reads.
constexpr std::array<std::string_view, 2> kOneTxQueue{"net_memif", "net_virtio_user"};

// Returns the text of an error. Drivers return -1 to refuse something, which is not EPERM.
std::string reason(int error) {
  return error == -1 ? "refused" : rte_strerror(error < 0 ? -error : error);
}

bool among(std::string_view name, const auto& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Returns the packet socket bound to the interface, or -1 if there is not exactly one. The driver
// does not reveal it.
int packet_socket(int interface) {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return -1;
  int found = -1;
  int count = 0;
  while (const dirent* entry = readdir(directory)) {
    const int fd = std::atoi(entry->d_name);
    sockaddr_ll address{};
    socklen_t size = sizeof address;
    if (fd <= 2 || getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) continue;
    if (address.sll_family != AF_PACKET || address.sll_ifindex != interface) continue;
    found = fd;
    ++count;
  }
  closedir(directory);
  return count == 1 ? found : -1;
}

std::vector<uint16_t> matching(const std::string& devargs) {
  std::vector<uint16_t> found;
  rte_dev_iterator iterator{};
  if (rte_eth_iterator_init(&iterator, devargs.c_str()) != 0) return found;
  for (uint16_t device = rte_eth_iterator_next(&iterator); device != RTE_MAX_ETHPORTS;
       device = rte_eth_iterator_next(&iterator)) {
    found.push_back(device);
  }
  return found;
}

Result<uint16_t> probe(const std::string& devargs, bool pci_available) {
  if (is_pci_devargs(devargs) && !pci_available) {
    return fail(
        "PCI devices are off, because no uplink of the configuration was a PCI device when the "
        "switch started");
  }
  if (devargs.find("net_virtio_user") != std::string::npos &&
      devargs.find("server=1") != std::string::npos) {
    return fail(
        "net_virtio_user with server=1 would stop the switch until its peer connects: make the "
        "peer "
        "the server");
  }
  if (!matching(devargs).empty()) return fail("device \"" + devargs + "\" is in use already");
  if (rte_eth_dev_count_avail() >= RTE_MAX_ETHPORTS) {
    return fail("this build of DPDK supports " + std::to_string(RTE_MAX_ETHPORTS) +
                " devices, and all are in use");
  }
  const int error = rte_dev_probe(devargs.c_str());
  if (error == -EEXIST) return fail("a device of the name in \"" + devargs + "\" exists already");
  if (error != 0) return fail("cannot open device \"" + devargs + "\": " + reason(error));
  const std::vector<uint16_t> found = matching(devargs);
  if (found.empty()) return fail("\"" + devargs + "\" is not an Ethernet device");
  return found.front();
}

}  // namespace

Result<std::unique_ptr<EthdevPort>> EthdevPort::open(PortId port, const EthdevPortSpec& spec,
                                                     uint16_t workers, Mempools& pools,
                                                     bool pci_available) {
  auto device = probe(spec.devargs, pci_available);
  if (!device) return fail(device.error());
  std::unique_ptr<EthdevPort> opened(new EthdevPort(port, spec, workers, *device, pools));
  if (auto configured = opened->configure(workers); !configured) {
    return fail(spec.devargs + ": " + configured.error().message);
  }
  return opened;
}

EthdevPort::EthdevPort(PortId port, const EthdevPortSpec& spec, uint16_t workers, uint16_t device,
                       Mempools& pools)
    : Port(port, PortKind::kEthdev, spec.name, spec.devargs, spec.mtu, workers),
      device_(device),
      pools_(pools) {}

EthdevPort::~EthdevPort() { EthdevPort::close(); }

Result<void> EthdevPort::configure(uint16_t workers) {
  rte_eth_dev_info info{};
  if (const int error = rte_eth_dev_info_get(device_, &info); error != 0)
    return fail("no device info: " + reason(error));
  driver_ = info.driver_name;
  numa_node_ = rte_eth_dev_socket_id(device_);
  if (rte_ether_addr address{}; rte_eth_macaddr_get(device_, &address) == 0) {
    std::memcpy(mac_.bytes.data(), address.addr_bytes, mac_.bytes.size());
  }
  const uint16_t rx_limit = std::min(info.max_rx_queues, kMaxRxQueues);
  const bool rss = info.flow_type_rss_offloads != 0;
  const auto rx_queues =
      among(driver_, kQueuesByDevargs) ? rx_limit : std::min(rx_limit, rss ? workers : uint16_t{1});
  const bool each = !among(driver_, kOneTxQueue) && info.max_tx_queues >= workers;
  const uint16_t tx_queues = each ? workers : uint16_t{1};
  if (rx_queues == 0 || info.max_tx_queues == 0)
    return fail("the device has no queues to receive from or send to");

  rte_eth_conf conf{};
  if (rss && rx_queues > 1) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf =
        info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
  }
  if (info.max_mtu == 0 || mtu() <= info.max_mtu) conf.rxmode.mtu = mtu();
  if (const int error = rte_eth_dev_configure(device_, rx_queues, tx_queues, &conf); error != 0) {
    return fail("cannot configure " + std::to_string(rx_queues) + " rx and " +
                std::to_string(tx_queues) + " tx queues: " + reason(error));
  }
  if (auto done = set_mtu(); !done) return done;
  if (auto done = set_up_queues(rx_queues, tx_queues); !done) return done;
  if (const int error = rte_eth_dev_start(device_); error != 0)
    return fail("cannot start: " + reason(error));
  const int promiscuous = rte_eth_promiscuous_enable(device_);
  if (promiscuous != 0 && promiscuous != -ENOTSUP)
    return fail("cannot enable promiscuous mode: " + reason(promiscuous));
  set_queues(rx_queues, tx_queues, each);
  if (driver_ == "net_af_packet" && rx_queues == 1 && info.if_index != 0)
    wait_fd_ = packet_socket(static_cast<int>(info.if_index));
  tx_mask_.store(1);
  return {};
}

// Called before the queues are set up, since some devices size them by the MTU. A device that does
// not support the call is assumed to have the MTU it was configured with.
Result<void> EthdevPort::set_mtu() {
  uint16_t current = 0;
  if (rte_eth_dev_get_mtu(device_, &current) == 0 && current == mtu()) return {};
  const int error = rte_eth_dev_set_mtu(device_, mtu());
  if (error == 0 || error == -ENOTSUP || error == -EBUSY) return {};
  return fail("cannot set MTU " + std::to_string(mtu()) + ": " + reason(error));
}

Result<void> EthdevPort::set_up_queues(uint16_t rx_queues, uint16_t tx_queues) {
  uint16_t rx_descriptors = kDescriptors;
  uint16_t tx_descriptors = kDescriptors;
  if (const int error = rte_eth_dev_adjust_nb_rx_tx_desc(device_, &rx_descriptors, &tx_descriptors);
      error != 0) {
    return fail("cannot adjust the number of descriptors: " + reason(error));
  }
  rte_mempool* pool = pools_.for_frame(numa_node_, mtu() + kEthernetBytes + 2 * kVlanTagBytes);
  if (pool == nullptr) return fail("no buffers for MTU " + std::to_string(mtu()));
  const auto socket = static_cast<unsigned>(numa_node_);
  for (uint16_t queue = 0; queue < rx_queues; ++queue) {
    if (const int error =
            rte_eth_rx_queue_setup(device_, queue, rx_descriptors, socket, nullptr, pool);
        error != 0) {
      return fail("rx queue " + std::to_string(queue) + ": " + reason(error));
    }
  }
  for (uint16_t queue = 0; queue < tx_queues; ++queue) {
    if (const int error = rte_eth_tx_queue_setup(device_, queue, tx_descriptors, socket, nullptr);
        error != 0) {
      return fail("tx queue " + std::to_string(queue) + ": " + reason(error));
    }
  }
  return {};
}

uint16_t EthdevPort::receive(uint16_t queue, rte_mempool*, rte_mbuf** out, uint16_t most) {
  const uint16_t count = rte_eth_rx_burst(device_, queue, out, most);
  for (uint16_t i = 0; i < count; ++i) {
    if (out[i]->nb_segs > 1) out[i] = linear(out[i]);
    to_packet(out[i]);
  }
  return count;
}

rte_mbuf* EthdevPort::linear(rte_mbuf* mbuf) {
  rte_mempool* pool = pools_.for_frame(numa_node_, mbuf->pkt_len);
  rte_mbuf* whole = pool == nullptr ? nullptr : rte_pktmbuf_alloc(pool);
  if (whole == nullptr) return mbuf;
  auto* to = rte_pktmbuf_mtod(whole, uint8_t*);
  for (const rte_mbuf* segment = mbuf; segment != nullptr; segment = segment->next) {
    std::memcpy(to, rte_pktmbuf_mtod(segment, const void*), segment->data_len);
    to += segment->data_len;
  }
  whole->data_len = static_cast<uint16_t>(mbuf->pkt_len);
  whole->pkt_len = mbuf->pkt_len;
  rte_pktmbuf_free(mbuf);
  return whole;
}

Port::Arm EthdevPort::arm(uint16_t, Sleeper& sleeper, uint32_t tag, uint32_t& watched) {
  if (wait_fd_ < 0) return Arm::kPolled;
  if (watched == 0 && !sleeper.watch(wait_fd_, tag)) return Arm::kPolled;
  watched = 1;
  return Arm::kArmed;
}

uint16_t EthdevPort::send(uint16_t queue, rte_mbuf** mbufs, uint16_t count) {
  return rte_eth_tx_burst(device_, queue, mbufs, count);
}

void EthdevPort::describe(PortInfo& info) const {
  info.driver = driver_;
  info.mac = mac_;
  rte_eth_link link{};
  info.link_up =
      open_ && rte_eth_link_get_nowait(device_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
  info.rings_running = info.link_up;
}

void EthdevPort::close() {
  if (!open_) return;
  open_ = false;
  rte_eth_dev_info info{};
  rte_device* device = rte_eth_dev_info_get(device_, &info) == 0 ? info.device : nullptr;
  rte_eth_dev_stop(device_);
  rte_eth_dev_close(device_);
  if (device != nullptr) rte_dev_remove(device);
}

}  // namespace godwit::dataplane
