// SPDX-License-Identifier: Apache-2.0
#include "migration/link/connection_gate.h"

#include <algorithm>

namespace godwit::migration {

namespace {

size_t count_of(const std::map<std::string, size_t>& counts, const std::string& address) {
  const auto found = counts.find(address);
  return found == counts.end() ? 0 : found->second;
}

void take_one(std::map<std::string, size_t>& counts, const std::string& address) {
  const auto found = counts.find(address);
  if (--found->second == 0) counts.erase(found);
}

}  // namespace

std::string ConnectionGate::make_room(const std::string& address, uint64_t now_ms) {
  if (count_of(by_address_, address) >= limits_.max_per_address) {
    std::string why =
        "its address has " + std::to_string(limits_.max_per_address) + " connections already";
    if (!evict(address, now_ms, why)) return why;
  }
  if (entries_.size() >= limits_.max_connections) {
    std::string why =
        "there are " + std::to_string(limits_.max_connections) + " connections already";
    if (!evict(busiest(), now_ms, why)) return why;
  }
  if (pending_ >= limits_.max_strangers) {
    std::string why =
        "there are already " + std::to_string(limits_.max_strangers) + " pending connections";
    if (!evict(busiest(), now_ms, why)) return why;
  }
  return {};
}

ConnectionGate::Ticket ConnectionGate::add(Entry entry) {
  ++by_address_[entry.address];
  ++pending_by_address_[entry.address];
  ++pending_;
  return entries_.insert(entries_.end(), std::move(entry));
}

void ConnectionGate::know(Ticket ticket) {
  if (ticket->known) return;
  ticket->known = true;
  --pending_;
  take_one(pending_by_address_, ticket->address);
}

void ConnectionGate::remove(Ticket ticket) {
  know(ticket);
  take_one(by_address_, ticket->address);
  entries_.erase(ticket);
}

std::string ConnectionGate::busiest() const {
  const auto most =
      std::ranges::max_element(pending_by_address_, {}, [](const auto& one) { return one.second; });
  return most == pending_by_address_.end() ? std::string() : most->first;
}

bool ConnectionGate::evict(const std::string& address, uint64_t now_ms, const std::string& why) {
  const auto found = std::ranges::find_if(
      entries_, [&](const Entry& entry) { return !entry.known && entry.address == address; });
  if (found == entries_.end() || now_ms < found->since_ms + kGraceMs) return false;
  const auto evicted = found->evict;
  const size_t before = entries_.size();
  evicted("peer: in no move after " + std::to_string(now_ms - found->since_ms) + " ms, and " + why);
  return entries_.size() < before;
}

}  // namespace godwit::migration
