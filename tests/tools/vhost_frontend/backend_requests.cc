// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/backend_requests.h"

#include <cerrno>
#include <cstring>

#include <sys/socket.h>

#include "tests/tools/vhost_frontend/message_channel.h"

namespace godwit::vhost_frontend {

using vhost_user::MessageHeader;

Status BackendRequests::open(UniqueFd* remote) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return Status::error(std::string("socketpair: ") + std::strerror(errno));
  }
  fd_.reset(pair[0]);
  remote->reset(pair[1]);
  in_bytes_ = 0;
  return {};
}

void BackendRequests::close() {
  fd_.reset();
  in_bytes_ = 0;
}

bool BackendRequests::answer(const MessageHeader& request) {
  struct {
    MessageHeader header;
    uint8_t result[sizeof(uint64_t)];
  } reply{};
  static_assert(sizeof(reply) == 20);
  ++count_;
  if ((request.flags & vhost_user::kFlagNeedReply) == 0) {
    return true;
  }
  reply.header = {request.request, vhost_user::kVersion | vhost_user::kFlagReply,
                  sizeof(reply.result)};
  return send(fd_.get(), &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(reply);
}

bool BackendRequests::pump() {
  while (fd_.valid()) {
    MessageHeader header{};
    size_t wanted = sizeof(header);
    if (in_bytes_ >= sizeof(header)) {
      std::memcpy(&header, in_.data(), sizeof(header));
      wanted += header.size;
    }
    const ssize_t got = receive_bytes(fd_.get(), in_.data() + in_bytes_, wanted - in_bytes_);
    if (got <= 0) {
      return got < 0 && (errno == EAGAIN || errno == EINTR);
    }
    in_bytes_ += static_cast<size_t>(got);
    if (in_bytes_ < sizeof(header)) {
      continue;
    }
    std::memcpy(&header, in_.data(), sizeof(header));
    if (header.size > vhost_user::kMaxPayload ||
        (header.flags & vhost_user::kVersionMask) != vhost_user::kVersion) {
      return false;
    }
    if (in_bytes_ == sizeof(header) + header.size) {
      in_bytes_ = 0;
      if (!answer(header)) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace godwit::vhost_frontend
