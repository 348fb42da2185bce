// SPDX-License-Identifier: Apache-2.0
//
// The vhost-user messages that a virtio-net front-end needs, with the layout of the vhost-user
// specification (published with QEMU). Also the split virtqueue and the virtio-net header of the
// VIRTIO 1.2 specification (2.7, 5.1.6).
//
// A message is a header of 12 bytes and `size` bytes of payload in the host's byte order. File
// descriptors travel in the ancillary data of its first byte. The sizes are asserted, because they
// are the contract with the other process. Virtqueue fields are little endian. This code runs on
// little-endian hosts only, which is asserted too.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace godwit::vhost_frontend::vhost_user {

static_assert(std::endian::native == std::endian::little);

enum class Request : uint32_t {
  kNone = 0,
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kResetOwner = 4,
  kSetMemTable = 5,
  kSetLogBase = 6,
  kSetLogFd = 7,
  kSetVringNum = 8,
  kSetVringAddr = 9,
  kSetVringBase = 10,
  kGetVringBase = 11,
  kSetVringKick = 12,
  kSetVringCall = 13,
  kSetVringErr = 14,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kGetQueueNum = 17,
  kSetVringEnable = 18,
  kSendRarp = 19,
  kNetSetMtu = 20,
  kSetBackendReqFd = 21,
  kSetStatus = 39,
  kGetStatus = 40,
};

inline constexpr uint32_t kVersion = 1;
inline constexpr uint32_t kVersionMask = 3;
inline constexpr uint32_t kFlagReply = 1u << 2;
inline constexpr uint32_t kFlagNeedReply = 1u << 3;

// Protocol features, as bit numbers of GET/SET_PROTOCOL_FEATURES.
inline constexpr unsigned kProtocolMq = 0;
inline constexpr unsigned kProtocolLogShmFd = 1;
inline constexpr unsigned kProtocolRarp = 2;
inline constexpr unsigned kProtocolReplyAck = 3;
inline constexpr unsigned kProtocolNetMtu = 4;
inline constexpr unsigned kProtocolBackendReq = 5;
inline constexpr unsigned kProtocolStatus = 16;

// Device status bits (VIRTIO 2.1).
inline constexpr uint8_t kStatusAcknowledge = 1;
inline constexpr uint8_t kStatusDriver = 2;
inline constexpr uint8_t kStatusDriverOk = 4;
inline constexpr uint8_t kStatusFeaturesOk = 8;

struct MessageHeader {
  uint32_t request;
  uint32_t flags;
  uint32_t size;
};
static_assert(sizeof(MessageHeader) == 12);

struct VringState {
  uint32_t index;
  uint32_t num;
};
static_assert(sizeof(VringState) == 8);

inline constexpr uint32_t kVringAddrLog = 1u << 0;

struct VringAddr {
  uint32_t index;
  uint32_t flags;
  uint64_t desc;  // desc, used and avail are addresses of this process, listed in the memory table.
  uint64_t used;
  uint64_t avail;
  uint64_t log;  // The guest address of the used ring, for the dirty log.
};
static_assert(sizeof(VringAddr) == 40);

inline constexpr size_t kMaxRegions = 8;

struct MemoryRegion {
  uint64_t guest_address;
  uint64_t size;
  uint64_t user_address;
  uint64_t mmap_offset;
};
static_assert(sizeof(MemoryRegion) == 32);

struct MemoryTable {
  uint32_t count;
  uint32_t padding;
  MemoryRegion regions[kMaxRegions];
};
static_assert(sizeof(MemoryTable) == 8 + 32 * kMaxRegions);

struct LogDescription {
  uint64_t size;
  uint64_t offset;
};
static_assert(sizeof(LogDescription) == 16);

inline constexpr uint64_t kLogPageSize = 4096;

// The longest payload of either side. A longer one closes the connection.
inline constexpr size_t kMaxPayload = 512;
static_assert(sizeof(MemoryTable) <= kMaxPayload);

}  // namespace godwit::vhost_frontend::vhost_user

namespace godwit::vhost_frontend::virtio {

inline constexpr uint64_t bit(unsigned n) { return uint64_t{1} << n; }

// Feature bits of virtio-net, of the ring, and of vhost.
inline constexpr uint64_t kNetCsum = bit(0);
inline constexpr uint64_t kNetGuestCsum = bit(1);
inline constexpr uint64_t kNetMtu = bit(3);
inline constexpr uint64_t kNetMac = bit(5);
inline constexpr uint64_t kNetGuestTso4 = bit(7);
inline constexpr uint64_t kNetGuestTso6 = bit(8);
inline constexpr uint64_t kNetGuestEcn = bit(9);
inline constexpr uint64_t kNetGuestUfo = bit(10);
inline constexpr uint64_t kNetHostTso4 = bit(11);
inline constexpr uint64_t kNetHostTso6 = bit(12);
inline constexpr uint64_t kNetHostEcn = bit(13);
inline constexpr uint64_t kNetHostUfo = bit(14);
inline constexpr uint64_t kNetMrgRxbuf = bit(15);
inline constexpr uint64_t kNetStatus = bit(16);
inline constexpr uint64_t kNetCtrlVq = bit(17);
inline constexpr uint64_t kNetGuestAnnounce = bit(21);
inline constexpr uint64_t kNetMq = bit(22);
inline constexpr uint64_t kVhostLogAll = bit(26);
inline constexpr uint64_t kRingIndirect = bit(28);
inline constexpr uint64_t kRingEventIdx = bit(29);
inline constexpr uint64_t kVhostProtocolFeatures = bit(30);
inline constexpr uint64_t kVersion1 = bit(32);

inline constexpr uint16_t kDescNext = 1;
inline constexpr uint16_t kDescWrite = 2;
inline constexpr uint16_t kAvailNoInterrupt = 1;
inline constexpr uint16_t kUsedNoNotify = 1;

struct Desc {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(Desc) == 16);

struct UsedElement {
  uint32_t id;
  uint32_t length;
};
static_assert(sizeof(UsedElement) == 8);

inline constexpr uint8_t kHeaderNeedsCsum = 1;
inline constexpr uint8_t kHeaderDataValid = 2;
inline constexpr uint8_t kGsoNone = 0;
inline constexpr uint8_t kGsoTcp4 = 1;
inline constexpr uint8_t kGsoTcp6 = 4;

// Without VERSION_1 and MRG_RXBUF the last field is absent, and the header has 10 bytes.
struct NetHeader {
  uint8_t flags = 0;
  uint8_t gso_type = kGsoNone;
  uint16_t header_length = 0;
  uint16_t gso_size = 0;
  uint16_t csum_start = 0;
  uint16_t csum_offset = 0;
  uint16_t num_buffers = 0;
};
static_assert(sizeof(NetHeader) == 12);

}  // namespace godwit::vhost_frontend::virtio
