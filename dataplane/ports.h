// SPDX-License-Identifier: Apache-2.0
//
// What control and migration may ask of the switch's ports, without DPDK in sight: implemented by
// dpdk/, and by fakes in tests.
//
// Thread safety: all calls from the control thread. Events are queued by whichever thread saw them
// and fetched by poll_events() on the control thread; `wake` (given at construction of the
// implementation) is called from any thread when the queue becomes non-empty.
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
  std::string name;          // the endpoint's
  std::string socket_path;   // at most 107 bytes (sun_path)
  bool server = false;       // default: client, so that the switch can restart under running VMs
  uint16_t queue_pairs = 1;  // 1..16
  uint16_t mtu = 1500;       // 68..9216
};

struct EthdevPortSpec {
  std::string name;     // the uplink endpoint's
  std::string devargs;  // as EAL's --vdev / --allow: "net_af_packet0,iface=up0", "0000:01:00.0"
  uint16_t mtu = 1500;
};

enum class PortKind : uint8_t { kInvalid = 0, kVhost, kEthdev };

struct PortInfo {
  PortId id;
  std::string name;
  PortKind kind = PortKind::kInvalid;
  std::string detail;    // socket path or devargs
  bool server = false;   // vhost: the switch listens on the socket
  std::string driver;    // "vhost-user" or the PMD's name
  bool link_up = false;  // vhost: a device is connected and its rings run
  bool rings_running = false;
  bool dirty_logging = false;  // VHOST_F_LOG_ALL: QEMU copies the VM's memory
  uint16_t mtu = 0;
  uint16_t rx_queues = 0;  // what the switch polls
  uint16_t tx_queues = 0;
  int numa_node = -1;                   // -1 unknown
  uint64_t features = 0;                // negotiated virtio features, 0 for ethdev
  uint64_t offered_features = 0;        // what the switch offers a driver here, 0 for ethdev
  MacAddress mac;                       // ethdev: the device's; vhost: zero
  std::vector<uint16_t> queue_workers;  // worker that polls rx queue i
};

struct PortStats {
  Count rx;
  Count tx;
  std::array<uint64_t, kDropCount>
      drops{};  // by the port a packet came from; tx_* by the port it was to leave by
};

enum class PortEventKind : uint8_t {
  kInvalid = 0,
  kConnected,  // vhost: a front-end is there
  kDisconnected,
  kRingsRunning,    // the first of its rings is enabled and kicked: the VM runs here
  kRingsStopped,    // GET_VRING_BASE came for every ring that ran: paused, or its driver was reset
  kLoggingStarted,  // VHOST_F_LOG_ALL set: the VM's memory is being copied
  kLoggingStopped,
  kFeaturesChanged,
};

struct PortEvent {
  PortEventKind kind = PortEventKind::kInvalid;
  PortId port;
  uint64_t time_ns = 0;  // CLOCK_MONOTONIC, when it was seen
};

class Ports {
 public:
  virtual ~Ports() = default;
  // A new port is not polled until a published state binds it to an endpoint that is active.
  virtual Result<PortId> add_vhost(const VhostPortSpec& spec) = 0;
  virtual Result<PortId> add_ethdev(const EthdevPortSpec& spec) = 0;
  // The caller has unbound it from its endpoint before. Waits for a grace period.
  virtual Result<void> remove(PortId port) = 0;

  [[nodiscard]] virtual std::vector<PortInfo> list() const = 0;
  [[nodiscard]] virtual Result<PortInfo> info(PortId port) const = 0;
  [[nodiscard]] virtual PortStats stats(PortId port) const = 0;
  virtual void clear_stats(PortId port) = 0;
  // Times (CLOCK_MONOTONIC ns) of the first frame received from / delivered to the port since its
  // rings began to run; 0 = none yet.
  [[nodiscard]] virtual uint64_t first_delivery_ns(PortId port) const = 0;

  [[nodiscard]] virtual std::vector<PortEvent> poll_events() = 0;
};

}  // namespace godwit::dataplane
