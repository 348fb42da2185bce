// SPDX-License-Identifier: Apache-2.0
//
// Who may connect: so many connections in all and from one address, and fewer of strangers, who
// have not become part of a move. No I/O; times are the caller's.
//
// Where there is no room a stranger that has had kGraceMs leaves for the new one: the oldest of the
// address that has the most. So whoever holds connections open without a purpose loses them to who
// has one, and a peer behind another address never waits for them. Known peers are not sent away.
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
  size_t max_connections = 1024;  // from outside, all
  size_t max_per_address = 512;
  size_t max_strangers = 256;  // of them
};

class ConnectionGate {
 public:
  static constexpr uint64_t kGraceMs = 500;
  struct Entry {
    std::string address;  // without its port
    uint64_t since_ms = 0;
    bool known = false;
    std::function<void(const std::string& why)> evict;
  };
  using Ticket = std::list<Entry>::iterator;

  explicit ConnectionGate(ConnectionLimits limits) : limits_(limits) {}

  // Empty: there is room now, perhaps because another one has just been evicted; then add() it.
  // Else why not.
  std::string make_room(const std::string& address, uint64_t now_ms);
  Ticket add(Entry entry);
  void know(Ticket ticket);
  void remove(Ticket ticket);
  [[nodiscard]] size_t size() const { return entries_.size(); }
  [[nodiscard]] size_t strangers() const { return strangers_; }

 private:
  bool evict(const std::string& address, uint64_t now_ms, const std::string& why);
  [[nodiscard]] std::string busiest() const;

  const ConnectionLimits limits_;
  std::list<Entry> entries_;  // oldest first
  std::map<std::string, size_t> by_address_, strangers_by_address_;
  size_t strangers_ = 0;
};

}  // namespace godwit::migration
