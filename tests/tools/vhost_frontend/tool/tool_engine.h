// SPDX-License-Identifier: Apache-2.0
//
// The engine of the `vhost-frontend` tool: devices by name, numbered streams between them, and one
// loop that serves them and standard input.
//
// A device is a front-end and the behavior of its guest (`GuestSide`). When the guest moves to
// another front-end, its side moves with it, so streams, accounts and captured frames continue
// under the new name.
//
// The loop sleeps whenever it can. It arms a receive ring that was quiet for `kQuietNs` and waits
// for its eventfd; it polls busy rings every `kPollNs`. Not thread safe. Times are CLOCK_MONOTONIC
// nanoseconds.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/tools/vhost_frontend/numbered_packets.h"
#include "tests/tools/vhost_frontend/vhost_frontend.h"

namespace godwit::vhost_frontend {

struct CapturedFrame {
  std::vector<uint8_t> bytes;
  virtio::NetHeader header;
  uint16_t queue_pair = 0;
  int64_t time_ns = 0;
};

struct GuestSide {
  static constexpr size_t kMaxCaptured = 4096;
  static constexpr size_t kMaxCapturedBytes = size_t{16} << 20;

  bool sink = false;  // Counts numbered packets instead of capturing them.
  std::map<uint32_t, StreamAccount> accounts;
  std::deque<CapturedFrame> captured;
  size_t captured_bytes = 0;
  uint64_t capture_overflow = 0;
  uint64_t rx_frames = 0;
  uint64_t rx_bytes = 0;
  uint64_t tx_frames = 0;
  uint64_t tx_bytes = 0;
  uint64_t other_frames = 0;  // Frames received by a sink that are not numbered packets.
  uint64_t arp_replies = 0;
  std::set<uint32_t> arp_addresses;  // In host byte order.
  std::vector<std::vector<uint8_t>> answers;
  int64_t first_rx_ns = 0;
};

struct Device {
  std::string name;
  std::unique_ptr<VhostFrontend> frontend;
  std::unique_ptr<GuestSide> side;
  std::unique_ptr<GuestNic> copy;  // Made when logging began, for a move by dirty pages.
  GuestNic::CopyResult copied;     // The result of the guest's move by dirty pages.
  bool hot = false;
  int64_t busy_ns = 0;  // The last time that it had frames.
};

struct Stream {
  uint32_t id = 0;
  std::string from;
  uint16_t queue_pair = 0;
  std::unique_ptr<NumberedBuilder> builder;
  uint64_t pps = 0;
  uint64_t count = 0;  // The total number of packets.
  int64_t end_ns = 0;  // Zero if only the count limits the stream.
  uint64_t sent = 0;
  uint64_t ring_full = 0;
  int64_t base_ns = 0;  // The rate is counted from this time.
  uint64_t base_sent = 0;
  bool done = false;
};

class Engine {
 public:
  static constexpr int64_t kPollNs = 50'000;
  static constexpr int64_t kQuietNs = 200'000;
  static constexpr size_t kMaxDevices = 1024;
  static constexpr size_t kMaxStreams = 4096;

  Status open();
  // Makes input on `fd` wake up the loop.
  Status watch_input(int fd);

  Status add_device(const std::string& name, const FrontendOptions& options);
  void remove_device(const std::string& name);
  Device* find(const std::string& name);
  const std::vector<std::unique_ptr<Device>>& devices() const { return devices_; }
  // Moves the guest, its side and its streams to another device.
  enum class Move { kShared, kCopy, kDirty };
  Status move_guest(Device& from, Device& to, Move how);

  Status add_stream(Stream stream);
  Stream* find_stream(uint32_t id);
  void remove_stream(uint32_t id);
  const std::vector<Stream>& streams() const { return streams_; }

  // Serves everything once, then sleeps for at most `max_sleep_ns`. Returns true if the input
  // became readable.
  bool turn(int64_t max_sleep_ns);
  // Repeats turn() until `done` returns true or the deadline passes. Returns done().
  bool run_until(int64_t deadline_ns, const std::function<bool()>& done);

 private:
  static constexpr size_t kReceiveBatch = 256;
  static constexpr size_t kSendBatch = 64;

  size_t receive_all(int64_t now_ns);
  size_t receive_device(Device& device, int64_t now_ns);
  void take_frame(Device& device, const Frame& frame, int64_t now_ns);
  void answer_arp(Device& device, std::span<const uint8_t> frame);
  bool send_streams(int64_t now_ns, int64_t* next_ns);
  bool send_stream(Stream& stream, int64_t now_ns);
  bool wait_for_events(int64_t timeout_ns);

  UniqueFd epoll_;
  int input_ = -1;
  std::vector<std::unique_ptr<Device>> devices_;
  std::map<std::string, Device*> by_name_;
  std::vector<Stream> streams_;
  std::vector<std::vector<uint8_t>> batch_;
};

}  // namespace godwit::vhost_frontend
