// SPDX-License-Identifier: Apache-2.0
#include "control/rpc/control_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <tuple>
#include <unordered_set>

#include "control/rpc/jsonrpc.h"

namespace godwit::control {
namespace {

using Protocol = asio::local::stream_protocol;
using Clock = std::chrono::steady_clock;

constexpr size_t kReadBytes = 64 * 1024;
constexpr size_t kKeptBytes = 1u << 20;  // a buffer that grew past this is shrunk

std::string system_error(const std::string& what, int error) {
  return what + ": " + std::strerror(error);
}

std::string in_mib(size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

// Returns the credentials of the client, or nothing if it may not connect.
std::optional<ucred> permitted(int descriptor) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return std::nullopt;
  const bool allowed = peer.uid == 0 || peer.uid == geteuid() || peer.gid == getegid();
  return allowed ? std::optional(peer) : std::nullopt;
}

// Sends one line if the socket has room for it. Used where the connection is closed next.
void send_last_line(Protocol::socket& socket, std::string line) {
  line += '\n';
  (void)send(socket.native_handle(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

// Removes a stale socket at `path`. Fails if a process listens on it or if it is another file.
Result<void> clear_path(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return fail(system_error(path, errno));
  }
  if (!S_ISSOCK(status.st_mode)) return fail(path + " exists and is not a socket");
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return fail(system_error("socket", errno));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int result =
      connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = result == 0 ? 0 : errno;
  ::close(descriptor);
  // EAGAIN means a full backlog, so a process listens.
  if (error == 0 || error == EAGAIN) return fail("another daemon is running on " + path);
  if (error != ECONNREFUSED) return fail(system_error(path, error));
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail(system_error(path, errno));
  return {};
}

}  // namespace

struct ControlSocket::Impl : std::enable_shared_from_this<ControlSocket::Impl> {
  // One client. It lives as long as one of its operations is pending.
  struct Connection : std::enable_shared_from_this<Connection> {
    Connection(Impl& owner, Protocol::socket connected, bool is_root)
        : impl(&owner), root(is_root), socket(std::move(connected)), timer(socket.get_executor()) {}

    void begin() {
      impl->all.insert(this);
      read();
    }
    void end() {
      if (impl == nullptr) return;
      impl->all.erase(this);
      forget();
    }
    void forget() {
      impl = nullptr;
      asio::error_code ignored;
      socket.close(ignored);
      timer.cancel();
    }
    // Returns whether a command of this client runs, its answer is being sent, or bytes wait.
    bool busy() const {
      asio::error_code ignored;
      return answering || socket.available(ignored) > 0;
    }
    // Ends a connection that is not busy, with a line that says why.
    void end_with(const std::string& line) {
      send_last_line(socket, line);
      end();
    }
    void read() {
      answering = false;
      const size_t used = input.size();
      input.resize(used + kReadBytes);
      socket.async_read_some(
          asio::buffer(input.data() + used, kReadBytes),
          [self = shared_from_this(), used](asio::error_code error, size_t bytes) {
            if (self->impl == nullptr) return;
            self->input.resize(used + bytes);
            if (error) return self->end();
            self->active = Clock::now();
            self->next_line();
          });
    }
    // Answers the first complete line, or reads more.
    void next_line() {
      const size_t newline = input.find('\n', searched);
      if (newline == std::string::npos) {
        searched = input.size();
        if (input.size() > kMaxLineBytes) return end_with(line_too_long());
        impl->limit_unanswered();
        if (impl != nullptr) read();
        return;
      }
      answering = true;
      line_bytes = newline + 1;
      // The block with the newline may have carried the line past the limit.
      if (newline > kMaxLineBytes) {
        closing = true;
        return answered(line_too_long());
      }
      const auto handle = impl->handler;
      handle(
          std::string_view(input).substr(0, newline),
          [self = shared_from_this()](std::string answer) { self->answered(std::move(answer)); });
    }
    static std::string line_too_long() {
      return error_line(kParseError, "a line is at most " + in_mib(kMaxLineBytes) + " long");
    }
    void answered(std::string answer) {
      if (impl == nullptr) return;
      input.erase(0, line_bytes);
      searched = 0;
      if (input.capacity() > kKeptBytes && input.size() < kReadBytes) input.shrink_to_fit();
      if (!answer.empty()) return write(std::move(answer));
      asio::post(socket.get_executor(), [self = shared_from_this()] {
        if (self->impl != nullptr) self->next_line();
      });
    }
    void write(std::string answer) {
      output = std::move(answer);
      output += '\n';
      timer.expires_after(std::chrono::seconds(kWriteTimeoutS));
      timer.async_wait([self = shared_from_this()](asio::error_code error) {
        if (!error) self->end();
      });
      asio::async_write(socket, asio::buffer(output),
                        [self = shared_from_this()](asio::error_code error, size_t) {
                          if (self->impl == nullptr) return;
                          self->timer.cancel();
                          if (error || self->closing) return self->end();
                          std::string().swap(self->output);
                          self->active = Clock::now();
                          self->next_line();
                        });
    }

    Impl* impl;
    const bool root;
    Protocol::socket socket;
    asio::steady_timer timer;  // of the pending write
    std::string input;
    size_t searched = 0;    // bytes of `input` known to have no newline
    size_t line_bytes = 0;  // of the line whose answer is pending
    std::string output;
    bool answering = false;  // from the end of a request to the end of its answer
    bool closing = false;
    Clock::time_point active = Clock::now();  // of the last request or answer
  };

  explicit Impl(asio::io_context& io) : context(io), acceptor(io), pause(io) {}

  void accept() {
    acceptor.async_accept(
        [this, self = shared_from_this()](asio::error_code error, Protocol::socket socket) {
          if (error == asio::error::operation_aborted || !acceptor.is_open()) return;
          if (error) {  // probably out of descriptors: retry later
            pause.expires_after(std::chrono::milliseconds(100));
            return pause.async_wait([this, self](asio::error_code cancelled) {
              if (!cancelled && acceptor.is_open()) accept();
            });
          }
          admit(std::move(socket));
          accept();
        });
  }
  void admit(Protocol::socket socket) {
    const auto peer = permitted(socket.native_handle());
    const auto reject = [&](std::string_view why) {
      send_last_line(socket, error_line(kRefused, why));
    };
    if (!peer)
      return reject("not permitted: only root, the daemon's user and its group may connect");
    const bool root = peer->uid == 0;
    if (all.size() >= kMaxConnections && !evict_idle() &&
        (!root || all.size() >= kMaxConnections + kRootConnections))
      return reject("too many connections, and each of them has a command in progress");
    std::make_shared<Connection>(*this, std::move(socket), root)->begin();
  }
  // Disconnects the client that has been idle longest. Clients of root are the last to go. Returns
  // false if no client is idle.
  bool evict_idle() {
    Connection* longest = nullptr;
    for (Connection* one : all) {
      if (one->busy()) continue;
      if (longest == nullptr ||
          std::tie(one->root, one->active) < std::tie(longest->root, longest->active))
        longest = one;
    }
    if (longest == nullptr) return false;
    const auto idle =
        std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - longest->active);
    longest->end_with(
        error_line(kRefused, "disconnected: " + std::to_string(kMaxConnections) +
                                 " clients are connected, and this one was idle longest, for " +
                                 std::to_string(idle.count()) + " s"));
    return true;
  }
  // Disconnects the client with the longest incomplete line while all of them exceed their limit.
  void limit_unanswered() {
    size_t bytes = 0;
    Connection* most = nullptr;
    for (Connection* one : all) {
      bytes += one->input.size();
      if (!one->answering && (most == nullptr || one->input.size() > most->input.size()))
        most = one;
    }
    if (bytes <= kMaxUnansweredBytes || most == nullptr) return;
    most->end_with(error_line(kRefused, "the unfinished lines of all clients are longer than " +
                                            in_mib(kMaxUnansweredBytes) +
                                            ", and this one is the longest"));
  }

  asio::io_context& context;
  Protocol::acceptor acceptor;
  asio::steady_timer pause;
  std::string path;
  AsyncHandler handler;
  std::unordered_set<Connection*> all;
};

Result<std::unique_ptr<ControlSocket>> ControlSocket::open(asio::io_context& context,
                                                           const std::string& path) {
  if (path.empty() || path.size() > sizeof(sockaddr_un::sun_path) - 1)
    return fail("the path of a socket must have 1 to 107 bytes");
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  std::error_code made;
  if (!parent.empty()) std::filesystem::create_directory(parent, made);
  if (auto clear = clear_path(path); !clear) return fail(clear.error());

  auto impl = std::make_shared<Impl>(context);
  asio::error_code error;
  impl->acceptor.open(Protocol(), error);
  if (!error) {
    const mode_t before = umask(0117);
    impl->acceptor.bind(Protocol::endpoint(path), error);
    umask(before);
  }
  if (!error) {
    impl->path = path;
    impl->acceptor.listen(asio::socket_base::max_listen_connections, error);
  }
  if (error) {
    if (!impl->path.empty()) unlink(path.c_str());
    return fail("control socket " + path + ": " + error.message());
  }
  return std::unique_ptr<ControlSocket>(new ControlSocket(std::move(impl)));
}

ControlSocket::ControlSocket(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlSocket::~ControlSocket() { close(); }

void ControlSocket::serve(Handler handler) {
  serve_async([handler = std::move(handler)](std::string_view line, const Answer& answer) {
    answer(handler(line));
  });
}

void ControlSocket::serve_async(AsyncHandler handler) {
  impl_->handler = std::move(handler);
  impl_->accept();
}

void ControlSocket::close() {
  if (!impl_->acceptor.is_open()) return;
  asio::error_code ignored;
  impl_->acceptor.close(ignored);
  impl_->pause.cancel();
  unlink(impl_->path.c_str());
  for (Impl::Connection* connection : impl_->all) connection->forget();
  impl_->all.clear();
}

size_t ControlSocket::connections() const { return impl_->all.size(); }

}  // namespace godwit::control
