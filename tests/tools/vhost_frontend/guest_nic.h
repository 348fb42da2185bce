// SPDX-License-Identifier: Apache-2.0
//
// The guest's half: one virtio-net NIC with its memory, its rings and its driver. It knows nothing
// of sockets, and it is what moves in a live migration: handed over whole (the memory shared by
// both front-ends) or as a copy.
//
// A copy can be made as QEMU makes it: everything once while the NIC runs, then only the pages that
// the device's dirty log names, plus what the guest itself wrote. `finish_copy` then compares, so a
// page that the device wrote and didn't log is found.
//
// Rings are numbered as in vhost-user: 2 * pair is receive, 2 * pair + 1 transmit. Not thread safe.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/tools/vhost_frontend/guest_memory.h"
#include "tests/tools/vhost_frontend/virtqueue.h"

namespace godwit::support {

struct NicOptions {
  uint16_t queue_pairs = 1;
  uint16_t queue_size = 256;
  uint32_t buffer_bytes = 0;  // 0: 2048, or what the MTU needs where buffers aren't mergeable
  size_t memory_mb = 0;       // 0: as much as the rings need
  unsigned regions = 1;
  uint64_t features = 0;  // what the driver wants, of what the device offers
  uint16_t mtu = 1500;
  std::array<uint8_t, 6> mac{2, 0, 0, 0, 0, 1};

  static constexpr uint16_t kMaxPairs = 64;
  static uint64_t default_features();
};

class GuestNic {
 public:
  static std::unique_ptr<GuestNic> create(const NicOptions& options, Status* why);

  // The driver's start: fixes the features and empties the rings.
  Status initialise(uint64_t features);
  bool initialised() const { return initialised_; }
  // Forgets the driver: the next start negotiates anew and finds empty rings.
  void reset_driver() { initialised_ = false; }
  uint64_t features() const { return features_; }
  const NicOptions& options() const { return options_; }
  const GuestMemory& memory() const { return *memory_; }

  unsigned ring_count() const { return options_.queue_pairs * 2u; }
  SplitRing& ring(unsigned index);
  const SplitRing& ring(unsigned index) const;

  // What SET_VRING_BASE is to say: from GET_VRING_BASE after a stop, else the used index, as after
  // a lost back-end.
  uint16_t base(unsigned index) const { return bases_[index]; }
  void set_base(unsigned index, uint16_t base) { bases_[index] = base; }
  void bases_from_used_rings();

  size_t send(std::span<const Frame> frames, uint16_t pair);
  size_t receive(size_t max, const ReceiveFn& fn);
  size_t transmit_in_flight() const;
  // Asks for interrupts; false when something is there already, so that sleeping would be wrong.
  bool arm_receive();
  void disarm_receive();
  // Why a ring broke, or empty.
  std::string broken() const;

  // A whole copy, running or not.
  std::unique_ptr<GuestNic> clone(Status* why) const;
  // Of a NIC that is running, by another thread if you like: its memory, which changes meanwhile.
  // finish_copy() makes it whole.
  std::unique_ptr<GuestNic> begin_copy(Status* why) const;
  struct CopyResult {
    size_t pages_logged = 0;
    size_t pages_copied = 0;
    size_t pages_missed = 0;  // written by the device, not in its log
  };
  // Brings a copy, begun after logging began, up to date with this stopped NIC, from the log of
  // dirty pages.
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

}  // namespace godwit::support
