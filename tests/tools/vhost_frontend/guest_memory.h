// SPDX-License-Identifier: Apache-2.0
//
// The memory of the guest that a front-end plays: one memfd, mapped once, that the back-end is
// shown as one to eight regions with holes between their guest addresses, as a PC's memory has.
// Places in it are offsets from the start of the memfd; the back-end reads guest addresses.
//
// Areas are page aligned, never cross a region, and say who writes them. That makes a dirty log
// checkable: whatever changes in an area of the device must be in the device's log.
//
// Not thread safe. Sizes are in bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tests/tools/vhost_frontend/status.h"
#include "tests/tools/vhost_frontend/vhost_user_messages.h"

namespace godwit::support {

class GuestMemory {
 public:
  static constexpr size_t kPage = 4096;
  static constexpr size_t kMaxBytes = size_t{1} << 30;
  static constexpr uint64_t kFirstGuestAddress = 0x100000;
  static constexpr uint64_t kHole = 0x200000;

  enum class Writer { kGuest, kDevice };

  struct Region {
    uint64_t guest_address;
    size_t offset;
    size_t bytes;
  };

  struct Area {
    size_t offset;
    size_t bytes;
    Writer writer;
  };

  // `bytes` is rounded up to a page a region. Null with `*why` set when it can't be had.
  static std::unique_ptr<GuestMemory> create(size_t bytes, unsigned regions, Status* why);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  // A new memory with the same regions, areas and content.
  std::unique_ptr<GuestMemory> clone(Status* why) const;

  // False when no region has that much left.
  bool allocate(size_t bytes, Writer writer, size_t* offset);

  int fd() const { return fd_.get(); }
  size_t bytes() const { return bytes_; }
  uint8_t* base() const { return base_; }
  uint64_t guest_address(size_t offset) const;
  // One past the highest guest address, which is what a dirty log has to cover.
  uint64_t guest_end() const;
  // Inverse of guest_address; false in a hole.
  bool offset_of(uint64_t guest_address, size_t* offset) const;

  vhost_user::MemoryTable table() const;
  const std::vector<Region>& regions() const { return regions_; }
  const std::vector<Area>& areas() const { return areas_; }

 private:
  GuestMemory() = default;

  UniqueFd fd_;
  uint8_t* base_ = nullptr;
  size_t bytes_ = 0;
  std::vector<Region> regions_;
  std::vector<size_t> next_;  // per region, the first offset not allocated
  std::vector<Area> areas_;
};

}  // namespace godwit::support
