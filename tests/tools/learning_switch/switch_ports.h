// SPDX-License-Identifier: Apache-2.0
//
// A LearningSwitch on DPDK devices, in one thread. It receives bursts from every port, holds each
// frame for the fabric's latency, and sends it. If a device accepts no more frames, they wait here
// in order, up to a limit. Beyond the limit they count as `tx_overflow`, which separates the
// fabric's own loss from the loss of the switches under test.
//
// Not thread safe. Times are CLOCK_MONOTONIC nanoseconds.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/tools/learning_switch/learning_switch.h"
#include "tests/tools/vhost_frontend/status.h"

struct rte_mbuf;
struct rte_mempool;

namespace godwit::learning_switch {

using vhost_frontend::Status;

struct SwitchPortCounts {
  uint64_t rx = 0;
  uint64_t tx = 0;
  uint64_t tx_overflow = 0;
  uint64_t tx_down = 0;  // No peer at the other end.
  uint64_t no_copy = 0;  // No buffer was left for a copy.
  uint64_t most_queued = 0;
};

class SwitchPorts {
 public:
  // The limit for each port. It includes frames that wait for the latency.
  static constexpr size_t kMaxQueued = 16384;
  static constexpr unsigned kBuffers = 65535;

  // Opens a port for each name of a device, which EAL has created.
  static std::unique_ptr<SwitchPorts> open(const std::vector<std::string>& devices, Status* why);
  ~SwitchPorts();
  SwitchPorts(const SwitchPorts&) = delete;
  SwitchPorts& operator=(const SwitchPorts&) = delete;

  // Receives the waiting frames and sends the due ones. Returns how many frames it received.
  unsigned turn(int64_t now_ns);
  // Returns when the next waiting frame is due, or -1 if none waits.
  [[nodiscard]] int64_t next_due_ns() const;
  void set_latency_ns(int64_t latency_ns) { latency_ns_ = latency_ns; }
  [[nodiscard]] LearningSwitch& logic() { return logic_; }
  [[nodiscard]] bool up(size_t port) const;
  [[nodiscard]] size_t size() const { return ports_.size(); }
  [[nodiscard]] const std::string& name(size_t port) const { return ports_[port].name; }
  [[nodiscard]] const SwitchPortCounts& counts(size_t port) const { return ports_[port].counts; }

 private:
  struct Waiting {
    rte_mbuf* mbuf;
    int64_t due_ns;
  };
  struct Port {
    std::string name;
    uint16_t device;
    std::deque<Waiting> queue;
    SwitchPortCounts counts;
  };
  explicit SwitchPorts(size_t ports) : logic_(ports) {}
  Status add(const std::string& device);
  void pass(size_t in, rte_mbuf* mbuf, int64_t now_ns);
  void send_due(Port& port, int64_t now_ns);

  LearningSwitch logic_;
  std::vector<Port> ports_;
  rte_mempool* pool_ = nullptr;
  int64_t latency_ns_ = 0;
};

}  // namespace godwit::learning_switch
