// SPDX-License-Identifier: Apache-2.0
//
// Ports: what control/ and migration/ can do with the switch's ports. This seam hides DPDK: dpdk/
// implements it, and tests use fakes.
//
// Thread safety: only the control thread calls these functions. The thread that sees an event
// queues it, and poll_events() returns it to the control thread. The implementation gets a function
// `wake` at construction; it calls it from any thread when the queue becomes non-empty.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/net.h"
#include "base/result.h"
#include "dataplane/packet/drop.h"
#include "dataplane/state/counter_bank.h"

namespace godwit::dataplane {

struct VhostPortSpec {
  std::string name;          // of the endpoint
  std::string socket_path;   // at most 107 bytes (sun_path)
  bool server = false;       // as a client, the switch can restart under running VMs
  uint16_t queue_pairs = 1;  // 1..16
  uint16_t mtu = 1500;       // 68..9216
};

struct EthdevPortSpec {
  std::string name;  // of the uplink's endpoint
  std::string
      devargs;  // as for EAL's --vdev or --allow: "net_af_packet0,iface=up0", "0000:01:00.0"
  uint16_t mtu = 1500;
};

enum class PortKind : uint8_t { kInvalid = 0, kVhost, kEthdev };

struct PortInfo {
  PortId id;
  std::string name;
  PortKind kind = PortKind::kInvalid;
  std::string detail;      // socket path or devargs
  bool server = false;     // vhost: the switch listens on the socket
  std::string driver;      // "vhost-user" or the PMD's name
  bool link_up = false;    // vhost: a device is connected and its rings run
  bool connected = false;  // vhost: a front-end is connected, whether its rings run or not
  bool rings_running = false;
  bool dirty_logging = false;  // VHOST_F_LOG_ALL: QEMU is copying the VM's memory
  uint16_t mtu = 0;
  uint16_t rx_queues = 0;  // queues that the switch polls
  uint16_t tx_queues = 0;
  int numa_node = -1;                   // -1 if unknown
  uint64_t features = 0;                // negotiated virtio features; zero for ethdev
  uint64_t offered_features = 0;        // virtio features that the switch offers; zero for ethdev
  MacAddress mac;                       // of the device; zero for vhost
  std::vector<uint16_t> queue_workers;  // entry i is the worker that polls rx queue i
};

struct PortStats {
  Count rx;
  Count tx;
  // Counted at the port from which a packet came; tx_* at the port by which it should have left.
  std::array<uint64_t, kDropCount> drops{};
};

enum class PortEventKind : uint8_t {
  kInvalid = 0,
  kConnected,  // vhost: a front-end has connected
  kDisconnected,
  kRingsRunning,    // the first ring is enabled and kicked: the VM runs here
  kRingsStopped,    // GET_VRING_BASE for every running ring: a paused VM or a driver reset
  kLoggingStarted,  // VHOST_F_LOG_ALL is set: the VM's memory is being copied
  kLoggingStopped,
  kFeaturesChanged,
};

struct PortEvent {
  PortEventKind kind = PortEventKind::kInvalid;
  PortId port;
  uint64_t time_ns = 0;  // CLOCK_MONOTONIC, when a thread saw the event
};

class Ports {
 public:
  virtual ~Ports() = default;
  // Add a port and return its id, or the reason why the port cannot be opened. A new port is polled
  // once a published state binds it to an active endpoint.
  virtual Result<PortId> add_vhost(const VhostPortSpec& spec) = 0;
  virtual Result<PortId> add_ethdev(const EthdevPortSpec& spec) = 0;
  // Removes a port after a grace period, for which it waits. The caller has unbound the port from
  // its endpoint.
  virtual Result<void> remove(PortId port) = 0;

  [[nodiscard]] virtual std::vector<PortInfo> list() const = 0;
  [[nodiscard]] virtual Result<PortInfo> info(PortId port) const = 0;
  [[nodiscard]] virtual PortStats stats(PortId port) const = 0;
  virtual void clear_stats(PortId port) = 0;
  // Returns the time (CLOCK_MONOTONIC) of the first frame that was delivered to the port since its
  // rings began to run. Zero until then.
  [[nodiscard]] virtual uint64_t first_delivery_ns(PortId port) const = 0;

  // Returns the events since the last call, in order.
  [[nodiscard]] virtual std::vector<PortEvent> poll_events() = 0;
};

}  // namespace godwit::dataplane
