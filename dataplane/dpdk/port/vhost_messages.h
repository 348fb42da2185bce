// SPDX-License-Identifier: Apache-2.0
//
// The vhost-user messages that the switch observes beside librte_vhost. The layout is that of
// QEMU's vhost-user specification ("Message Specification"): 32-bit request, flags and size in host
// byte order, then the payload. librte_vhost passes its message hooks a pointer to one.
//
// The payload is valid up to `size` bytes. The front-end chooses `size`, so it is checked first.
#pragma once

#include <cstddef>
#include <cstdint>

namespace godwit::dataplane {

enum class VhostRequest : uint32_t {
  kInvalid = 0,
  kSetFeatures = 2,
  kResetOwner = 4,
  kSetLogBase = 6,
  kGetVringBase = 11,
  kGetQueueNum = 17,
};

struct VhostVringState {
  uint32_t index;
  uint32_t num;
};

struct [[gnu::packed]] VhostMessage {
  uint32_t request;
  uint32_t flags;
  uint32_t size;
  union {
    uint64_t u64;
    VhostVringState state;
  } payload;
};
static_assert(offsetof(VhostMessage, payload) == 12);
static_assert(sizeof(VhostMessage) == 20);

// Feature bits (virtio 1.1, 5.1.3 and 6; vhost-user).
inline constexpr uint64_t feature(unsigned bit) { return uint64_t{1} << bit; }
inline constexpr uint64_t kFeatureGuestCsum = feature(1);
inline constexpr uint64_t kFeatureMtu = feature(3);
inline constexpr uint64_t kFeatureGso = feature(6);
inline constexpr uint64_t kFeatureGuestTso4 = feature(7);
inline constexpr uint64_t kFeatureGuestTso6 = feature(8);
inline constexpr uint64_t kFeatureGuestEcn = feature(9);
inline constexpr uint64_t kFeatureGuestUfo = feature(10);
inline constexpr uint64_t kFeatureHostTso4 = feature(11);
inline constexpr uint64_t kFeatureHostTso6 = feature(12);
inline constexpr uint64_t kFeatureHostEcn = feature(13);
inline constexpr uint64_t kFeatureHostUfo = feature(14);
inline constexpr uint64_t kFeatureMq = feature(22);
inline constexpr uint64_t kFeatureLogAll = feature(26);

// Segmentation features: the switch neither splits large frames nor merges small ones.
inline constexpr uint64_t kFeaturesNotOffered =
    kFeatureGso | kFeatureGuestTso4 | kFeatureGuestTso6 | kFeatureGuestEcn | kFeatureGuestUfo |
    kFeatureHostTso4 | kFeatureHostTso6 | kFeatureHostEcn | kFeatureHostUfo;

}  // namespace godwit::dataplane
