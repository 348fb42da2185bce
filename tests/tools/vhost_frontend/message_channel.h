// SPDX-License-Identifier: Apache-2.0
//
// One vhost-user connection as a queue of requests, sent one after the other, each of them after
// the reply of the one before where it has one. Nothing blocks: a front-end of hundreds of devices
// must not stand still for one switch.
//
// A reply that is not the one awaited, is too long or too late closes the connection. So does a
// request that the back-end refused (a REPLY_ACK that isn't zero), unless the requester looks at
// that itself.
//
// Not thread safe. File descriptors that are sent are borrowed until the queue is empty or cleared.
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

namespace godwit::support {

using ReplyFn = std::function<Status(std::span<const uint8_t> payload)>;

class MessageChannel {
 public:
  static constexpr int64_t kReplyTimeoutNs = 5'000'000'000;

  void open(UniqueFd fd);
  void close();
  bool is_open() const { return fd_.valid(); }
  int fd() const { return fd_.get(); }
  bool idle() const { return queue_.empty(); }

  // Acknowledgements are asked for from here on, where a request may have them.
  void use_reply_ack(bool on) { reply_ack_ = on; }
  bool uses_reply_ack() const { return reply_ack_; }

  // A request without a reply of its own; acknowledged where `ack` and the back-end can. `then`
  // runs once it is sent, or acknowledged.
  void request(vhost_user::Request request, std::span<const uint8_t> payload,
               std::span<const int> fds, bool ack, std::function<Status()> then = nullptr);
  // A request that always has a reply.
  void query(vhost_user::Request request, std::span<const uint8_t> payload, ReplyFn reply,
             std::span<const int> fds = {});

  // Sends and receives what can be without waiting. An error means that the connection is to be
  // closed.
  Status pump(int64_t now_ns);

 private:
  struct Outgoing {
    std::vector<uint8_t> bytes;
    std::vector<int> fds;
    size_t sent = 0;
    bool awaits = false;
    ReplyFn done;  // of the reply; of nothing where there is none
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

// Name of a request in errors, for people.
std::string request_name(vhost_user::Request request);

// recvmsg without waiting; descriptors that came along are closed. What recvmsg returns.
ssize_t receive_bytes(int fd, void* to, size_t length);

template <typename T>
std::span<const uint8_t> bytes_of(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof(value)};
}

}  // namespace godwit::support
