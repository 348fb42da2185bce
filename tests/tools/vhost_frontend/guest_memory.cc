// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/guest_memory.h"

#include <cerrno>
#include <cstring>
#include <string>

#include <sys/mman.h>

namespace godwit::vhost_frontend {
namespace {

size_t round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

}  // namespace

std::unique_ptr<GuestMemory> GuestMemory::create(size_t bytes, unsigned regions, Status* why) {
  if (bytes == 0 || bytes > kMaxBytes || regions == 0 || regions > vhost_user::kMaxRegions) {
    *why = Status::error("guest memory of " + std::to_string(bytes) + " bytes in " +
                         std::to_string(regions) + " regions is out of bounds");
    return nullptr;
  }
  std::unique_ptr<GuestMemory> memory(new GuestMemory);
  const size_t each = round_up(bytes / regions, kPage) + (regions > 1 ? kPage : 0);
  memory->bytes_ = each * regions;
  memory->fd_.reset(memfd_create("godwit-guest", MFD_CLOEXEC));
  if (!memory->fd_.valid() ||
      ftruncate(memory->fd_.get(), static_cast<off_t>(memory->bytes_)) != 0) {
    *why = Status::error(std::string("memfd: ") + std::strerror(errno));
    return nullptr;
  }
  void* mapped =
      mmap(nullptr, memory->bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd_.get(), 0);
  if (mapped == MAP_FAILED) {
    *why = Status::error(std::string("mmap: ") + std::strerror(errno));
    return nullptr;
  }
  memory->base_ = static_cast<uint8_t*>(mapped);
  for (unsigned i = 0; i < regions; ++i) {
    memory->regions_.push_back({kFirstGuestAddress + i * (each + kHole), i * each, each});
    memory->next_.push_back(i * each);
  }
  return memory;
}

GuestMemory::~GuestMemory() {
  if (base_ != nullptr) {
    munmap(base_, bytes_);
  }
}

std::unique_ptr<GuestMemory> GuestMemory::clone(Status* why) const {
  // Keeps the sizes of the regions by leaving out the page that create() adds for several regions.
  const size_t slack = regions_.size() > 1 ? kPage * regions_.size() : 0;
  std::unique_ptr<GuestMemory> copy =
      create(bytes_ - slack, static_cast<unsigned>(regions_.size()), why);
  if (copy == nullptr) {
    return nullptr;
  }
  copy->next_ = next_;
  copy->areas_ = areas_;
  std::memcpy(copy->base_, base_, bytes_);
  return copy;
}

bool GuestMemory::allocate(size_t bytes, Writer writer, size_t* offset) {
  const size_t size = round_up(bytes, kPage);
  for (size_t i = 0; i < regions_.size(); ++i) {
    const size_t end = regions_[i].offset + regions_[i].bytes;
    if (size <= end - next_[i]) {
      *offset = next_[i];
      next_[i] += size;
      areas_.push_back({*offset, size, writer});
      return true;
    }
  }
  return false;
}

uint64_t GuestMemory::guest_address(size_t offset) const {
  const size_t region = offset / regions_[0].bytes;
  return regions_[region].guest_address + (offset - regions_[region].offset);
}

uint64_t GuestMemory::guest_end() const {
  return regions_.back().guest_address + regions_.back().bytes;
}

bool GuestMemory::offset_of(uint64_t guest_address, size_t* offset) const {
  for (const Region& region : regions_) {
    if (guest_address >= region.guest_address &&
        guest_address - region.guest_address < region.bytes) {
      *offset = region.offset + (guest_address - region.guest_address);
      return true;
    }
  }
  return false;
}

vhost_user::MemoryTable GuestMemory::table() const {
  vhost_user::MemoryTable table{};
  for (const Region& region : regions_) {
    table.regions[table.count++] = {region.guest_address, region.bytes,
                                    reinterpret_cast<uint64_t>(base_ + region.offset),
                                    region.offset};
  }
  return table;
}

}  // namespace godwit::vhost_frontend
