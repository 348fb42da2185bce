// SPDX-License-Identifier: Apache-2.0
//
// One vhost-user connection as a queue of requests. The channel sends a request after the reply to
// the previous request, if that one has a reply. No call blocks, because one slow switch must not
// stop a front-end of hundreds of devices.
//
// An unexpected, oversized or late reply closes the connection. A refused request (a REPLY_ACK that
// is not zero) also closes it, unless the requester handles the refusal itself.
//
// Not thread safe. The channel borrows the descriptors that it sends until the queue is empty or
// cleared.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tests/tools/vhost_frontend/status.h"
#include "tests/tools/vhost_frontend/vhost_user_messages.h"

namespace godwit::vhost_frontend {

using ReplyFn = std::function<Status(std::span<const uint8_t> payload)>;

class MessageChannel {
 public:
  static constexpr int64_t kReplyTimeoutNs = 5'000'000'000;

  void open(UniqueFd fd);
  void close();
  bool is_open() const { return fd_.valid(); }
  int fd() const { return fd_.get(); }
  bool idle() const { return queue_.empty(); }

  // Sets whether later requests ask for acknowledgements.
  void use_reply_ack(bool on) { reply_ack_ = on; }
  bool uses_reply_ack() const { return reply_ack_; }

  // Queues a request without a reply of its own. The back-end acknowledges it if `ack` is set and
  // acknowledgements are in use. `then` runs after the acknowledgement, or else after sending.
  void request(vhost_user::Request request, std::span<const uint8_t> payload,
               std::span<const int> fds, bool ack, std::function<Status()> then = nullptr);
  // Queues a request that always has a reply.
  void query(vhost_user::Request request, std::span<const uint8_t> payload, ReplyFn reply,
             std::span<const int> fds = {});

  // Sends and receives as much as possible without blocking. The caller must close the connection
  // on an error.
  Status pump(int64_t now_ns);

 private:
  struct Outgoing {
    std::vector<uint8_t> bytes;
    std::vector<int> fds;
    size_t sent = 0;
    bool awaits = false;
    ReplyFn done;  // Gets the reply, or an empty payload if the request has none.
  };

  Outgoing make(vhost_user::Request request, std::span<const uint8_t> payload,
                std::span<const int> fds, bool ack);
  Status send_front(int64_t now_ns, bool* progress);
  Status receive(bool* progress);
  Status finish_front(std::span<const uint8_t> payload);

  UniqueFd fd_;
  std::deque<Outgoing> queue_;
  bool awaiting_ = false;
  int64_t deadline_ns_ = 0;
  bool reply_ack_ = false;
  std::array<uint8_t, sizeof(vhost_user::MessageHeader) + vhost_user::kMaxPayload> in_{};
  size_t in_bytes_ = 0;
};

// Returns the name of a request for error texts.
std::string request_name(vhost_user::Request request);

// Calls recvmsg() without blocking, closes the received descriptors and returns recvmsg()'s result.
ssize_t receive_bytes(int fd, void* to, size_t length);

template <typename T>
std::span<const uint8_t> bytes_of(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof(value)};
}

}  // namespace godwit::vhost_frontend
