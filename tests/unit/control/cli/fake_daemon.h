// SPDX-License-Identifier: Apache-2.0
//
// Fixtures for tests of the `godwit` command: a temporary folder and a daemon that answers lines.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>

namespace godwit::cli {

// A folder that is removed after the test.
class Folder : public ::testing::Test {
 protected:
  Folder() {
    char name[] = "/tmp/godwit-cli-test.XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~Folder() override { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void put(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
  }
  [[nodiscard]] std::string get(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path(name)).rdbuf();
    return text.str();
  }
  [[nodiscard]] size_t files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  std::string folder_;
};

// Answers each line with the text that `handler` returns, and closes the connection after an empty
// one.
class FakeDaemon {
 public:
  using Handler = std::function<std::string(const std::string& line)>;
  FakeDaemon(const std::string& path, Handler handler) : path_(path), handler_(std::move(handler)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    listener_ = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_, 4), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeDaemon() {
    shutdown(listener_, SHUT_RDWR);
    if (const int open = connection_.load(); open >= 0) shutdown(open, SHUT_RDWR);
    thread_.join();
    close(listener_);
    unlink(path_.c_str());
  }
  std::atomic<int> connections{0};

 private:
  void serve() {
    for (int one; (one = accept(listener_, nullptr, nullptr)) >= 0; close(one)) {
      ++connections;
      connection_ = one;
      std::string line;
      for (char c; read(one, &c, 1) == 1;) {
        if (c != '\n') {
          line += c;
          continue;
        }
        const std::string answer = handler_(line);
        line.clear();
        if (answer.empty()) break;
        for (size_t at = 0; at < answer.size();) {  // in pieces, as a socket may
          const ssize_t wrote =
              send(one, answer.data() + at, std::min<size_t>(answer.size() - at, 7), MSG_NOSIGNAL);
          if (wrote <= 0) break;
          at += static_cast<size_t>(wrote);
        }
      }
      connection_ = -1;
    }
  }
  const std::string path_;
  const Handler handler_;
  int listener_ = -1;
  std::atomic<int> connection_{-1};
  std::thread thread_;
};

// Refuses lines that begin with "bad", and returns the method and the parameters of any other.
inline std::string echo(const std::string& line) {
  using nlohmann::json;
  const json request = json::parse(line);
  json answer = {{"jsonrpc", "2.0"}, {"id", request["id"]}};
  const json& params = request["params"];
  const std::string text = params.value("line", params.dump());
  if (text.starts_with("bad")) {
    answer["error"] = {{"code", -32000}, {"message", "no such thing"}, {"data", {{"column", 1}}}};
  } else {
    answer["result"] = {{"text", text},
                        {"data", {{"method", request["method"]}, {"params", params}}}};
  }
  return answer.dump() + "\n";
}

// A folder with the socket of a daemon, and the streams of a session.
class DaemonTest : public Folder {
 protected:
  [[nodiscard]] std::string socket() const { return path("s"); }
  std::ostringstream out_;
  std::ostringstream err_;
};

}  // namespace godwit::cli
