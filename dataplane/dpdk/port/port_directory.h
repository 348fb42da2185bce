// SPDX-License-Identifier: Apache-2.0
//
// Finds the port of a PortId. Workers use it for the ports to which they send.
//
// Thread safety: set() by the control thread, find() by any thread. The control thread frees a port
// a grace period after it has removed it from the directory.
#pragma once

#include <atomic>
#include <vector>

#include "base/ids.h"
#include "dataplane/pipeline/pipeline_limits.h"

namespace godwit::dataplane {

class Port;

class PortDirectory {
 public:
  PortDirectory() : ports_(kMaxPorts) {}
  // Returns the port, or nullptr if no port has the id.
  [[nodiscard]] Port* find(PortId id) const {
    return id.value < kMaxPorts ? ports_[id.value].load(std::memory_order_acquire) : nullptr;
  }
  // Enters a port, or removes it if `port` is nullptr. The directory does not own the port.
  void set(PortId id, Port* port) { ports_[id.value].store(port, std::memory_order_release); }

 private:
  std::vector<std::atomic<Port*>> ports_;
};

}  // namespace godwit::dataplane
