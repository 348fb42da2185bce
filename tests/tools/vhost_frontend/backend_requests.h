// SPDX-License-Identifier: Apache-2.0
//
// The second channel of a vhost-user connection, on which the back-end sends requests to the
// front-end: IOTLB misses, configuration changes, host notifiers. A front-end without IOMMU and
// doorbell pages does nothing for any of them. It counts each request, acknowledges it if the
// back-end wants that, and closes the descriptors in it. Not thread safe.
#pragma once

#include <array>
#include <cstdint>

#include "tests/tools/vhost_frontend/status.h"
#include "tests/tools/vhost_frontend/vhost_user_messages.h"

namespace godwit::vhost_frontend {

class BackendRequests {
 public:
  // Creates the socket pair and sets `*remote` to the back-end's end.
  Status open(UniqueFd* remote);
  void close();
  int fd() const { return fd_.get(); }
  // Answers the pending requests. Returns false if the back-end closed the channel or sent a
  // malformed request; the caller then closes the channel.
  bool pump();
  uint64_t count() const { return count_; }

 private:
  bool answer(const vhost_user::MessageHeader& request);

  UniqueFd fd_;
  uint64_t count_ = 0;
  std::array<uint8_t, sizeof(vhost_user::MessageHeader) + vhost_user::kMaxPayload> in_{};
  size_t in_bytes_ = 0;
};

}  // namespace godwit::vhost_frontend
