// SPDX-License-Identifier: Apache-2.0
#include "control/rpc/control_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

namespace godwit::control {
namespace {

using namespace std::chrono_literals;

class ControlSocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/godwit-control-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
    path = folder + "/a.sock";
  }
  void TearDown() override {
    for (const int client : clients) ::close(client);
    server.reset();
    context.poll();
    std::filesystem::remove_all(folder);
  }
  void serve(ControlSocket::Handler handler) {
    auto opened = ControlSocket::open(context, path);
    ASSERT_TRUE(opened) << opened.error().message;
    server = std::move(*opened);
    server->serve(std::move(handler));
  }
  int client() {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0)
        << std::strerror(errno);
    clients.push_back(fd);
    return fd;
  }
  // Connects as another user. Only root can do this.
  int client_as(uid_t user) {
    std::filesystem::permissions(folder, std::filesystem::perms(0755));
    // The system call, unlike the function of libc, changes this thread alone.
    EXPECT_EQ(syscall(SYS_setresuid, -1, user, -1), 0);
    const int fd = client();
    EXPECT_EQ(syscall(SYS_setresuid, -1, 0, -1), 0);
    return fd;
  }
  // Waits until the server has closed the connection. Appends what it sent before to `last`.
  // Returns false if the connection is still open after 5 s.
  bool ended(int fd, std::string& last) {
    bool over = false;
    return until([&] {
      last += hear(fd, over);
      return over;
    });
  }
  // Runs the server until `done` or until `most` has passed. Returns false in the second case. A
  // `done` that returns false runs the server for all of `most`.
  bool until(const std::function<bool()>& done, std::chrono::milliseconds most = 5s) {
    const auto end = std::chrono::steady_clock::now() + most;
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      context.run_for(1ms);
      context.restart();
    }
    return true;
  }
  void say(int fd, std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent > 0) {
        text.remove_prefix(static_cast<size_t>(sent));
      } else if (errno != EAGAIN) {
        return;
      }
      context.poll();
      context.restart();
    }
  }
  // Returns the bytes received so far. Sets `ended` if the server has closed the connection.
  std::string hear(int fd, bool& ended) {
    std::string out;
    char block[65536];
    ended = false;
    for (;;) {
      const ssize_t got = recv(fd, block, sizeof block, 0);
      if (got == 0 || (got < 0 && errno != EAGAIN)) ended = true;
      if (got <= 0) return out;
      out.append(block, static_cast<size_t>(got));
    }
  }
  std::string hear_lines(int fd, size_t lines) {
    std::string out;
    bool ended = false;
    until([&] {
      out += hear(fd, ended);
      return ended || static_cast<size_t>(std::count(out.begin(), out.end(), '\n')) >= lines;
    });
    return out;
  }

  std::string folder, path;
  asio::io_context context;
  std::unique_ptr<ControlSocket> server;
  std::vector<int> clients;
};

std::string echo(std::string_view line) { return "<" + std::string(line) + ">"; }

TEST_F(ControlSocketTest, SplitLines_AreAnsweredInOrder) {
  serve(echo);
  const int fd = client();
  say(fd, "a\nbb\nc");
  EXPECT_EQ(hear_lines(fd, 2), "<a>\n<bb>\n");
  say(fd, "cc\n\n");
  EXPECT_EQ(hear_lines(fd, 2), "<ccc>\n<>\n");
}

TEST_F(ControlSocketTest, EmptyAnswer_IsNotSent) {
  serve([](std::string_view line) { return line == "quiet" ? std::string() : std::string(line); });
  const int fd = client();
  say(fd, "quiet\nquiet\nloud\n");
  EXPECT_EQ(hear_lines(fd, 1), "loud\n");
}

TEST_F(ControlSocketTest, SocketFile_IsForOwnerAndGroupOnly) {
  serve(echo);
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0660u);
}

TEST_F(ControlSocketTest, Open_RefusesLiveSocketAndReplacesStaleOne) {
  serve(echo);
  auto second = ControlSocket::open(context, path);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("another daemon"), std::string::npos);
  server.reset();
  EXPECT_FALSE(std::filesystem::exists(path));

  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  ::close(fd);
  serve(echo);
  const int talker = client();
  say(talker, "x\n");
  EXPECT_EQ(hear_lines(talker, 1), "<x>\n");
}

TEST_F(ControlSocketTest, Open_LeavesOtherFilesAlone) {
  ::close(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_FALSE(ControlSocket::open(context, path));
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(ControlSocketTest, NewClientAtTheLimit_EvictsTheOneThatIsIdleLongest) {
  serve(echo);
  for (size_t i = 0; i < kMaxConnections; ++i) {
    client();
    ASSERT_TRUE(until([&] { return server->connections() == i + 1; }));
  }
  say(clients[0], "x\n");
  EXPECT_EQ(hear_lines(clients[0], 1), "<x>\n");
  say(clients[1], "half a line");
  until([&] { return false; }, 20ms);
  const int extra = client();
  say(extra, "y\n");
  EXPECT_EQ(hear_lines(extra, 1), "<y>\n");
  std::string last;
  EXPECT_TRUE(ended(clients[2], last));
  EXPECT_NE(last.find("disconnected: 64 clients are connected"), std::string::npos) << last;
  EXPECT_EQ(server->connections(), kMaxConnections);
  say(clients[0], "z\n");
  EXPECT_EQ(hear_lines(clients[0], 1), "<z>\n");
}

TEST_F(ControlSocketTest, UnfinishedLines_DoNotKeepANewClientOut) {
  serve(echo);
  for (size_t i = 0; i < kMaxConnections; ++i) say(client(), "half a line");
  until([&] { return false; }, 20ms);
  const int extra = client();
  say(extra, "y\n");
  EXPECT_EQ(hear_lines(extra, 1), "<y>\n");
}

TEST_F(ControlSocketTest, ClientsWithACommandInProgress_AreNotEvicted) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to connect as another user";
  auto opened = ControlSocket::open(context, path);
  ASSERT_TRUE(opened);
  server = std::move(*opened);
  std::vector<ControlSocket::Answer> waiting;
  server->serve_async([&](std::string_view line, ControlSocket::Answer answer) {
    if (line == "wait") return waiting.push_back(std::move(answer));
    answer(std::string(line));
  });
  for (size_t i = 0; i < kMaxConnections; ++i) say(client(), "wait\n");
  ASSERT_TRUE(until([&] { return waiting.size() == kMaxConnections; }));

  constexpr uid_t kNobody = 65534;
  const int other = client_as(kNobody);
  EXPECT_NE(hear_lines(other, 1).find("too many connections"), std::string::npos);
  const int of_root = client();
  say(of_root, "x\n");
  EXPECT_EQ(hear_lines(of_root, 1), "x\n");
  EXPECT_EQ(server->connections(), kMaxConnections + 1);

  for (const auto& answer : waiting) answer("done");
  for (size_t i = 0; i < kMaxConnections; ++i) EXPECT_EQ(hear_lines(clients[i], 1), "done\n");
}

TEST_F(ControlSocketTest, ClientOfRoot_IsEvictedAfterThoseOfOthers) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to connect as another user";
  serve(echo);
  const int root = client();
  ASSERT_TRUE(until([&] { return server->connections() == 1; }));
  constexpr uid_t kNobody = 65534;
  for (size_t i = 0; i < kMaxConnections; ++i) client_as(kNobody);
  until([&] { return false; }, 20ms);
  EXPECT_EQ(server->connections(), kMaxConnections);
  say(root, "x\n");
  EXPECT_EQ(hear_lines(root, 1), "<x>\n");
}

TEST_F(ControlSocketTest, LineOverLimit_EndsTheConnection) {
  serve(echo);
  const int fd = client();
  const std::string block(1u << 20, 'x');
  for (size_t sent = 0; sent < kMaxLineBytes + (2u << 20); sent += block.size()) say(fd, block);
  EXPECT_NE(hear_lines(fd, 1).find("at most 32 MiB"), std::string::npos);
  EXPECT_TRUE(until([&] { return server->connections() == 0; }));
}

TEST_F(ControlSocketTest, UnfinishedLinesOverTheirTotal_EndTheLongestOne) {
  serve(echo);
  const std::string block(1u << 20, 'x');
  const int small = client();
  say(small, "a");
  for (const size_t mib : {20, 30, 20}) {
    const int fd = client();
    for (size_t i = 0; i < mib; ++i) say(fd, block);
  }
  ASSERT_TRUE(until([&] { return server->connections() == 3; }));
  std::string last;
  EXPECT_TRUE(ended(clients[2], last));
  EXPECT_NE(last.find("longer than 64 MiB"), std::string::npos) << last;
  say(small, "b\n");
  EXPECT_EQ(hear_lines(small, 1), "<ab>\n");
}

TEST_F(ControlSocketTest, ClientThatDoesNotRead_GetsNoFurtherRequestsRun) {
  size_t answered = 0;
  serve([&](std::string_view) {
    ++answered;
    return std::string(1u << 20, 'x');
  });
  const int slow = client();
  say(slow, "1\n2\n3\n4\n5\n6\n7\n8\n");
  const int quick = client();
  say(quick, "q\n");
  EXPECT_EQ(hear_lines(quick, 1).size(), (1u << 20) + 1);
  // The quick client's request, the slow client's first, and one whose answer the socket may
  // buffer.
  EXPECT_LE(answered, 3u);
}

TEST_F(ControlSocketTest, Close_WithPendingOperations_EndsAllConnections) {
  serve(echo);
  for (int i = 0; i < 10; ++i) say(client(), "half a line");
  say(client(), "whole\nand a half");
  server.reset();
  context.poll();
  bool ended = false;
  hear(clients.front(), ended);
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace godwit::control
