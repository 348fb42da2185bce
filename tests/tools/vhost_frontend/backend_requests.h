// SPDX-License-Identifier: Apache-2.0
//
// The second channel of a vhost-user connection, on which the back-end asks and the front-end
// answers (IOTLB misses, configuration changes, host notifiers). A front-end without IOMMU or
// doorbell pages has nothing to do for any of them: they are counted, acknowledged where that is
// asked for, and the descriptors that came along are closed. Not thread safe.
#pragma once

#include <array>
#include <cstdint>

#include "tests/tools/vhost_frontend/status.h"
#include "tests/tools/vhost_frontend/vhost_user_messages.h"

namespace godwit::support {

class BackendRequests {
 public:
  // Makes the socket pair; `*remote` is the end to send to the back-end.
  Status open(UniqueFd* remote);
  void close();
  int fd() const { return fd_.get(); }
  // False when the channel is to be closed: the back-end closed it or sent nonsense.
  bool pump();
  uint64_t count() const { return count_; }

 private:
  bool answer(const vhost_user::MessageHeader& request);

  UniqueFd fd_;
  uint64_t count_ = 0;
  std::array<uint8_t, sizeof(vhost_user::MessageHeader) + vhost_user::kMaxPayload> in_{};
  size_t in_bytes_ = 0;
};

}  // namespace godwit::support
