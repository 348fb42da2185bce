// SPDX-License-Identifier: Apache-2.0
//
// The memory of the emulated guest: one memfd, mapped once. The back-end sees it as one to eight
// regions with holes between their guest addresses, like the memory of a PC. In this process a
// position is an offset from the start of the memfd; the back-end uses guest addresses.
//
// An area is page aligned, lies within one region, and has one writer. This makes a dirty log
// verifiable: each change in an area of the device must be in the device's log.
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

namespace godwit::vhost_frontend {

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

  // Rounds `bytes` up to a page for each region. Returns null and sets `*why` on failure.
  static std::unique_ptr<GuestMemory> create(size_t bytes, unsigned regions, Status* why);
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  // Returns a new memory with the same regions, areas and content, or null with `*why` set.
  std::unique_ptr<GuestMemory> clone(Status* why) const;

  // Returns false if no region has that much space left.
  bool allocate(size_t bytes, Writer writer, size_t* offset);

  int fd() const { return fd_.get(); }
  size_t bytes() const { return bytes_; }
  uint8_t* base() const { return base_; }
  uint64_t guest_address(size_t offset) const;
  // Returns the address after the highest guest address. A dirty log has to cover all below it.
  uint64_t guest_end() const;
  // Inverse of guest_address(). Returns false if the address is in a hole.
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
  std::vector<size_t> next_;  // The first free offset of each region.
  std::vector<Area> areas_;
};

}  // namespace godwit::vhost_frontend
