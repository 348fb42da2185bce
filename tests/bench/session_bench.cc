// SPDX-License-Identifier: Apache-2.0
//
// Measures the rate of redirected frames in a session between peers, in plain text and over TLS,
// and the cost of opening a session.
//
// usage: session_bench [SECONDS [FRAME_BYTES]]
// Two networks are connected over loopback, each on its own thread as in two daemons. Messages are
// those of a move, and are parsed into frames at the other end. CPU time is reported for each side.
#include <pthread.h>
#include <time.h>

#include <asio/io_context.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "migration/link/asio_network.h"
#include "tests/builders/test_certificates.h"

namespace {

using namespace godwit;
using namespace godwit::migration;
using Time = std::chrono::steady_clock;

constexpr size_t kMaxQueuedBytes = 4u << 20;  // The limit of a move.
constexpr int kSessions = 200;

double cpu_s() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

wire::Envelope batch(size_t frame_bytes) {
  wire::Envelope message;
  message.set_vm("vm7");
  message.set_move("0123456789abcdef");
  for (size_t i = 0; i < kMaxRedirectFrames; ++i) {
    dataplane::Frame frame;
    frame.bytes.assign(frame_bytes, static_cast<uint8_t>(i));
    to_wire(frame, "vm7/net0", *message.mutable_redirect()->add_frames());
    if ((i + 1) * frame_bytes >= kMaxRedirectBytes) break;
  }
  return message;
}

struct Receiver {
  asio::io_context io{1};
  std::unique_ptr<AsioNetwork> network;
  std::shared_ptr<PeerSession> session;
  std::atomic<uint64_t> frames{0}, bytes{0};
  double cpu = 0;

  void on_message(const wire::Envelope& message) {
    if (message.has_hello()) {
      wire::Envelope hello;
      *hello.mutable_hello() = make_hello("host-b");
      return session->send(hello);
    }
    for (const wire::Frame& frame : message.redirect().frames()) {
      const auto taken = from_wire(frame);
      if (!taken) std::abort();
      bytes += taken->bytes.size();
      ++frames;
    }
  }
};

NetworkOptions options(const char* host, const char* peer, const std::string& address,
                       const std::optional<TlsFiles>& tls) {
  NetworkOptions made;
  made.host = host;
  made.peers[peer] = address;
  made.tls = tls;
  return made;
}

// The source's side, on the calling thread.
struct Sender {
  Sender(const std::string& to, const std::optional<TlsFiles>& tls)
      : address(to), network(io, options("host-a", "host-b", to, tls)) {
    if (!network.load_certificates()) std::abort();
  }

  // Opens a session and waits for the hello of the peer.
  void connect() {
    ready = false;
    network.connect(address, [&](Result<std::shared_ptr<PeerSession>> made) {
      if (!made) std::abort();
      session = *made;
      session->start([&](wire::Envelope& message) { ready = ready || message.has_hello(); },
                     [](const std::string&) {});
      wire::Envelope hello;
      *hello.mutable_hello() = make_hello("host-a");
      session->send(hello);
    });
    while (!ready) io.run_one();
  }

  // Sends frames for some seconds, and waits until all have been written.
  void send(const wire::Envelope& message, double seconds) {
    const auto end = Time::now() + std::chrono::duration_cast<Time::duration>(
                                       std::chrono::duration<double>(seconds));
    while (Time::now() < end) {
      while (session->queued_bytes() < kMaxQueuedBytes) session->send(message);
      io.run_one();
    }
    while (session->queued_bytes() > 0) io.run_one();
  }

  const std::string address;
  asio::io_context io{1};
  AsioNetwork network;
  std::shared_ptr<PeerSession> session;
  bool ready = false;
};

// Wall time, and CPU time of the calling thread, since its construction.
class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(Time::now() - began_).count();
  }
  [[nodiscard]] double cpu_seconds() const { return cpu_s() - cpu_; }

 private:
  const double cpu_ = cpu_s();
  const Time::time_point began_ = Time::now();
};

void listen(Receiver& receiver, const std::string& address, const std::optional<TlsFiles>& tls) {
  receiver.network =
      std::make_unique<AsioNetwork>(receiver.io, options("host-b", "host-a", address, tls));
  if (!receiver.network->load_certificates()) std::abort();
  const auto listening =
      receiver.network->listen(address, [&](std::shared_ptr<PeerSession> session) {
        receiver.session = session;
        session->start([&](wire::Envelope& message) { receiver.on_message(message); },
                       [](const std::string&) {});
      });
  if (!listening) std::abort();
}

void run(const char* name, double seconds, size_t frame_bytes, const std::optional<TlsFiles>& ours,
         const std::optional<TlsFiles>& theirs, uint16_t port) {
  const std::string address = "127.0.0.1:" + std::to_string(port);
  Receiver receiver;
  listen(receiver, address, theirs);
  std::thread thread([&] {
    receiver.io.run();
    receiver.cpu = cpu_s();
  });

  Sender sender(address, ours);
  const Stopwatch opening;
  for (int i = 0; i < kSessions; ++i) {
    sender.connect();
    if (i + 1 < kSessions) sender.session->close("next");
  }
  const double session_us = opening.seconds() * 1e6 / kSessions;
  const double session_cpu_us = opening.cpu_seconds() * 1e6 / kSessions;

  const wire::Envelope message = batch(frame_bytes);
  const Stopwatch sending;
  sender.send(message, seconds);
  const double took = sending.seconds();
  const double cpu = sending.cpu_seconds();
  const auto frames = static_cast<double>(receiver.frames),
             bytes = static_cast<double>(receiver.bytes);
  sender.session->close("done");
  asio::post(receiver.io, [&] {
    if (receiver.session) receiver.session->close("done");
    receiver.network->stop_listening();
    receiver.io.stop();
  });
  thread.join();
  std::printf(
      "%-10s %7.0f MB/s %9.0f frames/s of %zu bytes; sender %4.0f, receiver %4.0f ns CPU a frame; "
      "a session in %5.0f us, %4.0f us CPU of ours\n",
      name, bytes / took / 1e6, frames / took, frame_bytes, cpu * 1e9 / frames,
      receiver.cpu * 1e9 / frames, session_us, session_cpu_us);
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  const size_t frame_bytes = argc > 2 ? static_cast<size_t>(std::atoi(argv[2])) : 1500;
  if (seconds <= 0 || frame_bytes < 14 || frame_bytes > dataplane::kMaxFrameBytes) {
    std::fprintf(stderr, "usage: session_bench [SECONDS [FRAME_BYTES]], 14..%zu bytes\n",
                 dataplane::kMaxFrameBytes);
    return 2;
  }
  testing::TestAuthority authority;
  const auto port = static_cast<uint16_t>(20000 + getpid() % 20000);
  run("plain text", seconds, frame_bytes, {}, {}, port);
  run("TLS", seconds, frame_bytes, authority.issue("host-a"), authority.issue("host-b"),
      static_cast<uint16_t>(port + 1));
  return 0;
}
