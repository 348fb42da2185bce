// SPDX-License-Identifier: Apache-2.0
//
// The handshakes that wait for their turn. A TLS handshake costs the control thread half a
// millisecond of arithmetic, and a VM's pause must not wait for a series of them. Therefore the
// handshakes begin one at a time, `gap_ms` apart. Those of connections that this host opens come
// first, then those of addresses with few handshakes waiting.
//
// Thread safety: the control thread only.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

namespace godwit::migration {

inline constexpr uint64_t kHandshakeGapMs = 2;  // between two TLS handshakes

class HandshakeQueue {
 public:
  struct Entry {
    std::string address;  // of the peer
    bool ours = false;    // this host opened the connection
    std::function<void()> begin;
  };

  explicit HandshakeQueue(asio::io_context& io) : timer_(io) {}

  // Begins the handshake at once or when its turn comes. The next one begins `gap_ms` after it.
  void push(Entry entry, uint64_t gap_ms);

 private:
  void begin_next(uint64_t gap_ms);

  std::list<Entry> entries_;  // oldest first
  asio::steady_timer timer_;
  bool in_gap_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // watched by the timer's callback
};

}  // namespace godwit::migration
