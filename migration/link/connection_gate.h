// SPDX-License-Identifier: Apache-2.0
//
// Limits the connections from outside: in all, from one address, and those that are pending. A
// pending connection takes part in no move yet. The gate does no I/O, and callers pass the time.
//
// When a limit is reached, the gate evicts the oldest pending connection of the address that has
// most of them, if that connection is older than kGraceMs. So a client that holds connections open
// without a purpose loses them to one that has a purpose, and a peer behind another address never
// waits for it. A connection that belongs to a move is never evicted.
//
// Thread safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>

namespace godwit::migration {

struct ConnectionLimits {
  size_t max_connections = 1024;  // in all
  size_t max_per_address = 512;
  size_t max_strangers = 256;  // pending ones; named like the key of the configuration
};

class ConnectionGate {
 public:
  static constexpr uint64_t kGraceMs = 500;
  struct Entry {
    std::string address;  // without its port
    uint64_t since_ms = 0;
    bool known = false;                                 // belongs to a move
    std::function<void(const std::string& why)> evict;  // must lead to remove(), at once
  };
  using Ticket = std::list<Entry>::iterator;

  explicit ConnectionGate(ConnectionLimits limits) : limits_(limits) {}

  // Replaces the limits. Connections beyond new ones stay until others need their room.
  void set_limits(ConnectionLimits limits) { limits_ = limits; }
  // Makes room for one more connection, by an eviction if a limit is reached. Returns why there is
  // no room; empty if there is.
  std::string make_room(const std::string& address, uint64_t now_ms);
  // Adds a pending connection. Call make_room() first.
  Ticket add(Entry entry);
  // Marks the connection as belonging to a move.
  void know(Ticket ticket);
  void remove(Ticket ticket);
  [[nodiscard]] size_t size() const { return entries_.size(); }
  [[nodiscard]] size_t pending() const { return pending_; }

 private:
  // Evicts the oldest pending connection of the address. Returns false if it has none past
  // kGraceMs.
  bool evict(const std::string& address, uint64_t now_ms, const std::string& why);
  // Returns the address with the most pending connections.
  [[nodiscard]] std::string busiest() const;

  ConnectionLimits limits_;
  std::list<Entry> entries_;  // oldest first
  std::map<std::string, size_t> by_address_, pending_by_address_;
  size_t pending_ = 0;
};

}  // namespace godwit::migration
