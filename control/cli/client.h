// SPDX-License-Identifier: Apache-2.0
//
// A client of the control socket: JSON-RPC 2.0, one request at a time, one object per line.
//
// The client connects at the first call, and again after a failure. Whatever the daemon sends, an
// answer is at most kMaxAnswerBytes long, and nothing is thrown.
//
// Thread safety: none.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "control/cli/exit_code.h"

namespace godwit::cli {

inline constexpr size_t kMaxAnswerBytes = 512u << 20;

struct Answer {
  ExitCode code = ExitCode::kDone;  // kDone, kRefused or kUnreachable
  nlohmann::json result;            // set with kDone
  nlohmann::json error;             // set otherwise: {"code","message","data"}, from either side
};

class Client {
 public:
  Client(std::string socket_path, double timeout_s)
      : path_(std::move(socket_path)), timeout_s_(timeout_s) {}
  ~Client() { close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Sends a request and waits for its answer, at most the timeout.
  Answer call(std::string_view method, const nlohmann::json& params);
  void close();

 private:
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] Answer unreachable(const std::string& why);
  // Each returns an empty text, or the reason of its failure.
  std::string connect();
  std::string write_all(std::string_view bytes, Clock::time_point deadline);
  std::string read_line(std::string& line, Clock::time_point deadline);
  std::string wait(short events, Clock::time_point deadline) const;

  const std::string path_;
  const double timeout_s_;
  int socket_ = -1;
  uint64_t next_id_ = 1;
};

}  // namespace godwit::cli
