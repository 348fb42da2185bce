// SPDX-License-Identifier: Apache-2.0
//
// The control socket: a Unix stream socket with one request and one answer per line, in order.
//
// Bounds: at most kMaxConnections at a time. A further client takes the place of the one that has
// been idle longest, which gets an error line and is closed. A client with a command in progress is
// never evicted. If all clients have one, the further client is refused, unless it is root: root
// has kRootConnections more. A line has at most kMaxLineBytes, and the lines that are not answered
// yet have kMaxUnansweredBytes together; the client of the longest is closed with an error line.
// Each connection has at most one answer under way: its next request is read when the client has
// taken the last answer. A client that does not take an answer within kWriteTimeoutS is
// disconnected.
//
// Access: the file's mode is 0660, and SO_PEERCRED must be root, this process's user, or its group.
//
// Thread safety: the thread that runs the io_context.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace asio {
class io_context;
}

namespace godwit::control {

inline constexpr size_t kMaxLineBytes = 32u << 20;
inline constexpr size_t kMaxUnansweredBytes = 64u << 20;
inline constexpr size_t kMaxConnections = 64;
inline constexpr size_t kRootConnections = 8;
inline constexpr int kWriteTimeoutS = 30;

class ControlSocket {
 public:
  // Returns the answer to a line, both without newline. An empty answer is not sent.
  using Handler = std::function<std::string(std::string_view line)>;
  // Calls `answer` once, before it returns or later. The line stays valid until then, and the
  // connection's next line waits.
  using Answer = std::function<void(std::string answer)>;
  using AsyncHandler = std::function<void(std::string_view line, Answer answer)>;

  // Creates the socket. Removes a socket at `path` on which no process listens. Fails if another
  // process listens on it or if the file is not a socket. Clients can connect from here on; they
  // get answers after serve().
  static Result<std::unique_ptr<ControlSocket>> open(asio::io_context& context,
                                                     const std::string& path);
  ~ControlSocket();  // close()
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  void serve(Handler handler);
  void serve_async(AsyncHandler handler);
  // Closes all connections and removes the file. Waiting lines are not answered.
  void close();
  [[nodiscard]] size_t connections() const;

 private:
  struct Impl;
  explicit ControlSocket(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with pending operations
};

}  // namespace godwit::control
