// SPDX-License-Identifier: Apache-2.0
//
// The guest's half of the device: one virtio-net NIC with its memory, rings and driver. It has no
// sockets. A live migration moves this object, either whole (both front-ends share the memory) or
// as a copy.
//
// A copy can be made as in QEMU: first of everything while the NIC runs, then of the pages that the
// device's dirty log names and of the pages that the guest itself wrote. finish_copy() then
// compares both memories, and so finds pages that the device wrote and did not log.
//
// Rings are numbered as in vhost-user: 2 * pair is receive, 2 * pair + 1 is transmit. Not thread
// safe.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/tools/vhost_frontend/guest_memory.h"
#include "tests/tools/vhost_frontend/virtqueue.h"

namespace godwit::vhost_frontend {

struct NicOptions {
  uint16_t queue_pairs = 1;
  uint16_t queue_size = 256;
  uint32_t buffer_bytes = 0;  // Zero for 2048, or for the MTU's need if buffers are not mergeable.
  size_t memory_mb = 0;       // Zero for as much as the rings need.
  unsigned regions = 1;
  uint64_t features = 0;  // The driver accepts these if the device offers them.
  uint16_t mtu = 1500;
  std::array<uint8_t, 6> mac{2, 0, 0, 0, 0, 1};

  static constexpr uint16_t kMaxPairs = 64;
  static uint64_t default_features();
};

class GuestNic {
 public:
  static std::unique_ptr<GuestNic> create(const NicOptions& options, Status* why);

  // Starts the driver: sets the features and empties the rings.
  Status initialise(uint64_t features);
  bool initialised() const { return initialised_; }
  // Resets the driver: the next start negotiates again and begins with empty rings.
  void reset_driver() { initialised_ = false; }
  uint64_t features() const { return features_; }
  const NicOptions& options() const { return options_; }
  const GuestMemory& memory() const { return *memory_; }

  unsigned ring_count() const { return options_.queue_pairs * 2u; }
  SplitRing& ring(unsigned index);
  const SplitRing& ring(unsigned index) const;

  // Returns the value for SET_VRING_BASE: the value from GET_VRING_BASE after a stop, and the used
  // index after the loss of a back-end.
  uint16_t base(unsigned index) const { return bases_[index]; }
  void set_base(unsigned index, uint16_t base) { bases_[index] = base; }
  void bases_from_used_rings();

  size_t send(std::span<const Frame> frames, uint16_t pair);
  size_t receive(size_t max, const ReceiveFn& fn);
  size_t transmit_in_flight() const;
  // Enables interrupts. Returns false if frames are already waiting, so the caller must not sleep.
  bool arm_receive();
  void disarm_receive();
  // Returns why a ring broke, or an empty string.
  std::string broken() const;

  // Returns a complete copy, of a NIC that runs or not.
  std::unique_ptr<GuestNic> clone(Status* why) const;
  // Copies the memory of a running NIC, which changes meanwhile. May run on another thread.
  // finish_copy() completes the copy.
  std::unique_ptr<GuestNic> begin_copy(Status* why) const;
  struct CopyResult {
    size_t pages_logged = 0;
    size_t pages_copied = 0;
    size_t pages_missed = 0;  // The device wrote these and did not log them.
  };
  // Updates a copy to the state of this NIC, which is stopped, from the log of dirty pages. The
  // copy must have begun after logging began.
  CopyResult finish_copy(GuestNic& copy, std::span<const uint8_t> log) const;

 private:
  GuestNic() = default;
  bool device_page_differs(const GuestNic& copy, size_t offset) const;
  void copy_driver_state(GuestNic& copy) const;

  NicOptions options_;
  std::unique_ptr<GuestMemory> memory_;
  std::vector<ReceiveRing> receive_;
  std::vector<TransmitRing> transmit_;
  std::vector<uint16_t> bases_;
  uint64_t features_ = 0;
  bool initialised_ = false;
};

}  // namespace godwit::vhost_frontend
