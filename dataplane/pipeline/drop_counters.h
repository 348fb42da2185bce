// SPDX-License-Identifier: Apache-2.0
//
// Counts of dropped packets of one worker, by port and reason. The pipeline counts for the port a
// packet came in by, the transmit stage for the port it was to leave by.
//
// Memory for a port is allocated at its first drop and kept, since counts outlive their port.
//
// Thread safety: count() by one worker; read() by any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/ids.h"
#include "dataplane/packet/drop.h"
#include "dataplane/pipeline/pipeline_limits.h"

namespace godwit::dataplane {

class DropCounters {
 public:
  DropCounters();
  ~DropCounters();
  DropCounters(const DropCounters&) = delete;
  DropCounters& operator=(const DropCounters&) = delete;

  // Counts drops for a port. An invalid port stands for packets without one, such as injected ones.
  void count(PortId port, Drop reason, uint64_t packets = 1);
  [[nodiscard]] uint64_t read(PortId port, Drop reason) const;

 private:
  struct Cell {
    std::array<std::atomic<uint64_t>, kDropCount> drops{};
  };
  std::unique_ptr<std::atomic<Cell*>[]> cells_;  // by PortId; the last one for "no port"
};

}  // namespace godwit::dataplane
