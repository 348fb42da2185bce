// SPDX-License-Identifier: Apache-2.0
#include "control/cli/client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace godwit::cli {
namespace {

using nlohmann::json;

// Fills `answer` from the line. Returns an empty text, or why the line is not the answer to request
// `id`.
std::string read_answer(const std::string& line, uint64_t id, Answer& answer) {
  json parsed = json::parse(line, nullptr, false);
  if (!parsed.is_object()) return "its answer is not JSON-RPC";
  const auto error = parsed.find("error");
  if (error != parsed.end()) {
    if (!error->is_object()) return "its error is not an object";
    // An error is accepted with any id: a daemon that could not read the request answers id null.
    answer.code = ExitCode::kRefused;
    answer.error = *error;
    return {};
  }
  const auto found = parsed.find("id");
  if (found == parsed.end() || *found != id) return "its answer is to another request";
  const auto result = parsed.find("result");
  if (result == parsed.end()) return "its answer has neither result nor error";
  answer.result = std::move(*result);
  return {};
}

}  // namespace

Answer Client::unreachable(const std::string& why) {
  close();
  Answer answer;
  answer.code = ExitCode::kUnreachable;
  answer.error = {{"code", 0}, {"message", "godwitd at " + path_ + ": " + why}};
  return answer;
}

void Client::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

std::string Client::connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.empty() || path_.size() >= sizeof(address.sun_path)) {
    return "the socket path must have 1 to " + std::to_string(sizeof(address.sun_path) - 1) +
           " bytes";
  }
  std::memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
  socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket_ < 0) return std::strerror(errno);
  // Connecting to a Unix socket waits only while the listener's queue is full. SO_SNDTIMEO bounds
  // this wait, in whole seconds here, because zero would mean no bound.
  const auto seconds = std::max<time_t>(1, static_cast<time_t>(timeout_s_));
  const timeval limit{seconds, 0};
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  while (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno != EINTR) return std::strerror(errno);
  }
  fcntl(socket_, F_SETFL, fcntl(socket_, F_GETFL) | O_NONBLOCK);
  return {};
}

std::string Client::wait(short events, Clock::time_point deadline) const {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return "no answer in time";
    pollfd waited{socket_, events, 0};
    const int ready = poll(&waited, 1, static_cast<int>(std::min<int64_t>(left, 60000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return std::strerror(errno);
  }
}

std::string Client::write_all(std::string_view bytes, Clock::time_point deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      if (std::string why = wait(POLLOUT, deadline); !why.empty()) return why;
    } else if (errno != EINTR) {
      return std::strerror(errno);
    }
  }
  return {};
}

std::string Client::read_line(std::string& line, Clock::time_point deadline) {
  std::array<char, 65536> part;
  for (;;) {
    const ssize_t got = recv(socket_, part.data(), part.size(), 0);
    if (got == 0) return "the daemon closed the connection";
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return std::strerror(errno);
      if (std::string why = wait(POLLIN, deadline); !why.empty()) return why;
      continue;
    }
    const std::string_view bytes(part.data(), static_cast<size_t>(got));
    const size_t newline = bytes.find('\n');
    line += bytes.substr(0, newline);
    if (newline != bytes.npos) return {};  // no bytes follow: one request is under way at a time
    if (line.size() > kMaxAnswerBytes)
      return "its answer has more than " + std::to_string(kMaxAnswerBytes >> 20) + " MiB";
  }
}

Answer Client::call(std::string_view method, const json& params) {
  const uint64_t id = next_id_++;
  const json request = {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}};
  // A typed line may have bytes that are not UTF-8; JSON must not.
  const std::string bytes = request.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                           std::chrono::duration<double>(timeout_s_));
  const bool kept = socket_ >= 0;
  if (!kept) {
    if (const std::string why = connect(); !why.empty()) return unreachable(why);
  }
  const std::string not_sent = write_all(bytes, deadline);
  // The daemon may have been restarted since the last call. The new one has not seen the request.
  if (!not_sent.empty() && kept && Clock::now() < deadline) {
    close();
    return call(method, params);
  }
  // A daemon that closes early may have sent the reason.
  std::string line;
  const std::string not_read = read_line(line, deadline);
  if (!not_read.empty()) return unreachable(not_sent.empty() ? not_read : not_sent);
  Answer answer;
  if (const std::string why = read_answer(line, id, answer); !why.empty()) return unreachable(why);
  return answer;
}

}  // namespace godwit::cli
