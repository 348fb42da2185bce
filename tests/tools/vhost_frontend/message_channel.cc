// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/message_channel.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/socket.h>

namespace godwit::vhost_frontend {

using vhost_user::MessageHeader;
using vhost_user::Request;

std::string request_name(Request request) {
  static constexpr std::pair<Request, const char*> kNames[] = {
      {Request::kGetFeatures, "GET_FEATURES"},
      {Request::kSetFeatures, "SET_FEATURES"},
      {Request::kSetOwner, "SET_OWNER"},
      {Request::kSetMemTable, "SET_MEM_TABLE"},
      {Request::kSetLogBase, "SET_LOG_BASE"},
      {Request::kSetLogFd, "SET_LOG_FD"},
      {Request::kSetVringNum, "SET_VRING_NUM"},
      {Request::kSetVringAddr, "SET_VRING_ADDR"},
      {Request::kSetVringBase, "SET_VRING_BASE"},
      {Request::kGetVringBase, "GET_VRING_BASE"},
      {Request::kSetVringKick, "SET_VRING_KICK"},
      {Request::kSetVringCall, "SET_VRING_CALL"},
      {Request::kGetProtocolFeatures, "GET_PROTOCOL_FEATURES"},
      {Request::kSetProtocolFeatures, "SET_PROTOCOL_FEATURES"},
      {Request::kGetQueueNum, "GET_QUEUE_NUM"},
      {Request::kSetVringEnable, "SET_VRING_ENABLE"},
      {Request::kSendRarp, "SEND_RARP"},
      {Request::kNetSetMtu, "NET_SET_MTU"},
      {Request::kSetBackendReqFd, "SET_BACKEND_REQ_FD"},
      {Request::kSetStatus, "SET_STATUS"},
      {Request::kGetStatus, "GET_STATUS"},
  };
  for (const auto& [value, name] : kNames) {
    if (value == request) {
      return name;
    }
  }
  return "request " + std::to_string(static_cast<uint32_t>(request));
}

ssize_t receive_bytes(int fd, void* to, size_t length) {
  iovec iov{to, length};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 8)];
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) {
    return got;
  }
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int received = -1;
      std::memcpy(&received, CMSG_DATA(part) + i * sizeof(int), sizeof(received));
      ::close(received);
    }
  }
  return got;
}

void MessageChannel::open(UniqueFd fd) {
  close();
  fd_ = std::move(fd);
}

void MessageChannel::close() {
  fd_.reset();
  queue_.clear();
  awaiting_ = false;
  reply_ack_ = false;
  in_bytes_ = 0;
}

MessageChannel::Outgoing MessageChannel::make(Request request, std::span<const uint8_t> payload,
                                              std::span<const int> fds, bool ack) {
  const uint32_t flags = vhost_user::kVersion | (ack ? vhost_user::kFlagNeedReply : 0);
  const MessageHeader header{static_cast<uint32_t>(request), flags,
                             static_cast<uint32_t>(payload.size())};
  Outgoing out;
  out.bytes.resize(sizeof(header) + payload.size());
  std::memcpy(out.bytes.data(), &header, sizeof(header));
  std::copy(payload.begin(), payload.end(), out.bytes.begin() + sizeof(header));
  out.fds.assign(fds.begin(), fds.end());
  out.awaits = ack;
  return out;
}

void MessageChannel::request(Request request, std::span<const uint8_t> payload,
                             std::span<const int> fds, bool ack, std::function<Status()> then) {
  const bool acknowledged = ack && reply_ack_;
  Outgoing out = make(request, payload, fds, acknowledged);
  out.done = [request, acknowledged,
              then = std::move(then)](std::span<const uint8_t> reply) -> Status {
    if (acknowledged) {
      uint64_t result = 1;
      if (reply.size() != sizeof(result)) {
        return Status::error(request_name(request) + ": acknowledgement of a wrong length");
      }
      std::memcpy(&result, reply.data(), sizeof(result));
      if (result != 0) {
        return Status::error(request_name(request) + ": refused by the back-end");
      }
    }
    return then ? then() : Status();
  };
  queue_.push_back(std::move(out));
}

void MessageChannel::query(Request request, std::span<const uint8_t> payload, ReplyFn reply,
                           std::span<const int> fds) {
  Outgoing out = make(request, payload, fds, false);
  out.awaits = true;
  out.done = std::move(reply);
  queue_.push_back(std::move(out));
}

Status MessageChannel::send_front(int64_t now_ns, bool* progress) {
  Outgoing& out = queue_.front();
  iovec iov{out.bytes.data() + out.sent, out.bytes.size() - out.sent};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * vhost_user::kMaxRegions)] = {};
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  if (!out.fds.empty() && out.sent == 0) {
    const size_t bytes = sizeof(int) * std::min(out.fds.size(), vhost_user::kMaxRegions);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(part), out.fds.data(), bytes);
  }
  const ssize_t sent = sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) {
    return errno == EAGAIN || errno == EINTR
               ? Status()
               : Status::error(std::string("send: ") + std::strerror(errno));
  }
  *progress = true;
  out.sent += static_cast<size_t>(sent);
  if (out.sent < out.bytes.size()) {
    return {};
  }
  if (out.awaits) {
    awaiting_ = true;
    deadline_ns_ = now_ns + kReplyTimeoutNs;
    return {};
  }
  return finish_front({});
}

Status MessageChannel::finish_front(std::span<const uint8_t> payload) {
  // Removes the request first, because its callback may queue more.
  Outgoing out = std::move(queue_.front());
  queue_.pop_front();
  return out.done ? out.done(payload) : Status();
}

Status MessageChannel::receive(bool* progress) {
  MessageHeader header{};
  size_t wanted = sizeof(header);
  if (in_bytes_ >= sizeof(header)) {
    std::memcpy(&header, in_.data(), sizeof(header));
    wanted += header.size;
  }
  const ssize_t got = receive_bytes(fd_.get(), in_.data() + in_bytes_, wanted - in_bytes_);
  if (got == 0) {
    return Status::error("closed by the back-end");
  }
  if (got < 0) {
    return errno == EAGAIN || errno == EINTR
               ? Status()
               : Status::error(std::string("receive: ") + std::strerror(errno));
  }
  *progress = true;
  in_bytes_ += static_cast<size_t>(got);
  if (in_bytes_ < sizeof(header)) {
    return {};
  }
  std::memcpy(&header, in_.data(), sizeof(header));
  MessageHeader asked{};
  if (!awaiting_) {
    return Status::error("reply without a pending request");
  }
  std::memcpy(&asked, queue_.front().bytes.data(), sizeof(asked));
  if (header.size > vhost_user::kMaxPayload || header.request != asked.request ||
      (header.flags & vhost_user::kFlagReply) == 0) {
    return Status::error("unexpected message instead of the reply to " +
                         request_name(Request{asked.request}));
  }
  if (in_bytes_ < sizeof(header) + header.size) {
    return {};
  }
  std::vector<uint8_t> payload(in_.begin() + sizeof(header),
                               in_.begin() + sizeof(header) + header.size);
  in_bytes_ = 0;
  awaiting_ = false;
  return finish_front(payload);
}

Status MessageChannel::pump(int64_t now_ns) {
  while (fd_.valid()) {
    bool progress = false;
    Status status;
    if (!awaiting_ && !queue_.empty()) {
      status = send_front(now_ns, &progress);
    } else {
      status = receive(&progress);
      if (status.ok() && !progress && awaiting_ && now_ns > deadline_ns_) {
        MessageHeader asked{};
        std::memcpy(&asked, queue_.front().bytes.data(), sizeof(asked));
        status = Status::error("no reply to " + request_name(Request{asked.request}));
      }
    }
    if (!status.ok() || !progress) {
      return status;
    }
  }
  return {};
}

}  // namespace godwit::vhost_frontend
