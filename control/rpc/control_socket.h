// SPDX-License-Identifier: Apache-2.0
//
// The control socket: a Unix stream socket, one request a line, one answer a line, in order.
//
// Bounds: kMaxConnections at once (more are closed at once with an error line), a line of
// kMaxLineBytes, one answer waiting for each connection: the next request is read when the last
// answer has been taken. Who does not take an answer within kWriteTimeout_s is cut off. The file's
// mode is 0660; SO_PEERCRED must be root, this process's user, or its group.
//
// Thread safety: everything in the io_context's handlers or before it runs.
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

inline constexpr size_t kMaxLineBytes = 64u << 20;
inline constexpr size_t kMaxConnections = 64;
inline constexpr int kWriteTimeout_s = 30;

class ControlSocket {
 public:
  // A line without its newline -> the answer without one; empty: none is due.
  using Handler = std::function<std::string(std::string_view line)>;
  // The same, answered once, before it returns or later. The line is there until it is answered;
  // the next one waits.
  using Answer = std::function<void(std::string answer)>;
  using LaterHandler = std::function<void(std::string_view line, Answer answer)>;

  // Refuses when another process answers on `path`, or a file that is no socket is there; removes a
  // socket that nobody listens on. From here on clients can connect; they are answered after
  // start().
  static Result<std::unique_ptr<ControlSocket>> open(asio::io_context& context,
                                                     const std::string& path);
  ~ControlSocket();  // close()
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  void start(Handler handler);
  void start_later(LaterHandler handler);
  // Closes all connections and removes the file. Lines that wait are not answered.
  void close();
  [[nodiscard]] size_t connections() const;

 private:
  struct Impl;
  explicit ControlSocket(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with the operations under way
};

}  // namespace godwit::control
