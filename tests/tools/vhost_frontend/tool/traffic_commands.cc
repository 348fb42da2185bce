// SPDX-License-Identifier: Apache-2.0
//
// The commands of CommandInterpreter that send, receive and count frames.
#include <algorithm>
#include <utility>

#include "tests/tools/vhost_frontend/tool/command_interpreter.h"
#include "tests/tools/vhost_frontend/tool/replies.h"

namespace godwit::vhost_frontend {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxSeconds = 3600;
constexpr uint64_t kMaxPps = 5'000'000;
constexpr uint64_t kMaxSend = 100'000;

}  // namespace

json CommandInterpreter::send(CommandWords& words) {
  Device& from = device(words.word("NAME"));
  const uint64_t count = words.number_or("count", 1, 1, kMaxSend);
  const uint64_t timeout_ms = words.number_or("timeout_ms", 1000, 0, kMaxWaitMs);
  const std::string csum = words.text_or("csum", "full");
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<Frame> frames;
  for (const std::string& text : split(words.text("hex"), ',')) {
    bytes.push_back(from_hex(text));
  }
  virtio::NetHeader header;
  header.gso_type = static_cast<uint8_t>(words.number_or("gso_type", 0, 0, 255));
  header.gso_size = static_cast<uint16_t>(words.number_or("gso_size", 0, 0, UINT16_MAX));
  header.header_length = static_cast<uint16_t>(words.number_or("header_length", 0, 0, UINT16_MAX));
  const uint16_t pair =
      static_cast<uint16_t>(words.number_or("queue", 0, 0, NicOptions::kMaxPairs - 1));
  words.finish();
  for (std::vector<uint8_t>& one : bytes) {
    if (csum == "partial") {
      header.flags = virtio::kHeaderNeedsCsum;
      if (!make_partial_checksum(one, &header.csum_start, &header.csum_offset)) {
        throw CommandError("csum=partial needs a whole TCP or UDP packet");
      }
    } else if (csum != "full") {
      throw CommandError("csum must be full or partial");
    }
    frames.push_back({.data = one, .header = header, .queue_pair = pair});
  }
  if (!from.frontend->running()) {
    throw CommandError("'" + from.name + "' is " + state_name(from.frontend->state()));
  }
  const uint64_t wanted = count * frames.size();
  uint64_t sent = 0;
  engine_.run_until(deadline_in(timeout_ms), [&] {
    while (sent < wanted) {
      const size_t at = sent % frames.size();
      const size_t put = from.frontend->send(std::span(frames).subspan(at), pair);
      sent += put;
      if (put == 0) {
        return false;
      }
    }
    return true;
  });
  from.side->tx_frames += sent;
  return {{"sent", sent}};
}

json CommandInterpreter::recv(CommandWords& words) {
  Device& at = device(words.word("NAME"));
  const uint64_t count = words.number_or(1, 1, GuestSide::kMaxCaptured);
  const uint64_t timeout_ms = words.number_or(1000, 0, kMaxWaitMs);
  words.finish();
  GuestSide& side = *at.side;
  engine_.run_until(deadline_in(timeout_ms), [&] { return side.captured.size() >= count; });
  json frames = json::array();
  while (frames.size() < count && !side.captured.empty()) {
    side.captured_bytes -= side.captured.front().bytes.size();
    frames.push_back(describe_frame(side.captured.front()));
    side.captured.pop_front();
  }
  return {{"frames", frames}};
}

json CommandInterpreter::stream(CommandWords& words) {
  NumberedTemplate shape;
  Stream made;
  shape.stream = made.id = static_cast<uint32_t>(words.number_or(0, 0, UINT32_MAX));
  Device& from = device(words.text("from"));
  const bool bounded = words.has("count") || words.has("seconds");
  made.from = from.name;
  made.queue_pair =
      static_cast<uint16_t>(words.number_or("queue", 0, 0, NicOptions::kMaxPairs - 1));
  made.pps = words.number("pps", 1, kMaxPps);
  made.count =
      words.number_or("count", StreamAccount::kMaxSequence, 1, StreamAccount::kMaxSequence);
  const uint64_t seconds = words.number_or("seconds", kMaxSeconds, 1, kMaxSeconds);
  shape.destination_mac = parse_mac(words.text("dst"));
  const GuestNic* guest = from.frontend->guest();
  shape.source_mac =
      words.has("src") || guest == nullptr ? parse_mac(words.text("src")) : guest->options().mac;
  shape.ipv6 = parse_ip(words.text_or("dip", "10.0.0.2"), &shape.destination_ip);
  if (parse_ip(words.text_or("sip", shape.ipv6 ? "fd00::1" : "10.0.0.1"), &shape.source_ip) !=
      shape.ipv6) {
    throw CommandError("sip and dip must be of the same family");
  }
  shape.source_port = static_cast<uint16_t>(words.number_or("sport", 40000, 0, UINT16_MAX));
  shape.destination_port = static_cast<uint16_t>(words.number_or("dport", 40001, 0, UINT16_MAX));
  shape.flows = static_cast<uint16_t>(words.number_or("flows", 1, 1, UINT16_MAX));
  shape.vlan = words.has("vlan") ? static_cast<int>(words.number("vlan", 0, UINT16_MAX)) : -1;
  shape.ttl = static_cast<uint8_t>(words.number_or("ttl", 64, 0, 255));
  const size_t least = numbered_minimum(shape);
  shape.bytes = words.number_or("size", std::max<size_t>(least, 64), least, 65535);
  words.finish();
  if (!bounded) {
    throw CommandError("count= or seconds= is missing");
  }
  made.base_ns = monotonic_ns();
  made.end_ns = made.base_ns + static_cast<int64_t>(seconds) * 1'000'000'000;
  made.builder = std::make_unique<NumberedBuilder>(shape);
  const uint32_t id = made.id;
  check(engine_.add_stream(std::move(made)));
  return {{"id", id}, {"size", shape.bytes}};
}

json CommandInterpreter::streams(CommandWords& words) {
  words.finish();
  json all = json::array();
  for (const Stream& one : engine_.streams()) {
    all.push_back(describe_stream(one));
  }
  return {{"streams", all}};
}

json CommandInterpreter::stream_wait(CommandWords& words) {
  const std::string which = words.word("ID");
  const uint64_t timeout_ms = words.number_or(kDefaultTimeoutMs, 0, kMaxWaitMs);
  words.finish();
  std::vector<uint32_t> ids;
  for (const Stream& one : engine_.streams()) {
    if (which == "all" || which == std::to_string(one.id)) {
      ids.push_back(one.id);
    }
  }
  if (ids.empty() && which != "all") {
    throw CommandError("unknown stream " + which);
  }
  const bool done = engine_.run_until(deadline_in(timeout_ms), [&] {
    return std::all_of(ids.begin(), ids.end(), [&](uint32_t id) {
      const Stream* one = engine_.find_stream(id);
      return one == nullptr || one->done;
    });
  });
  json all = json::array();
  for (const uint32_t id : ids) {
    all.push_back(describe_stream(*engine_.find_stream(id)));
  }
  return {{"done", done}, {"streams", all}};
}

json CommandInterpreter::stream_stop(CommandWords& words) {
  const std::string which = words.word("ID");
  words.finish();
  json all = json::array();
  std::vector<uint32_t> ids;
  for (const Stream& one : engine_.streams()) {
    if (which == "all" || which == std::to_string(one.id)) {
      ids.push_back(one.id);
      all.push_back(describe_stream(one));
    }
  }
  for (const uint32_t id : ids) {
    engine_.remove_stream(id);
  }
  if (ids.empty() && which != "all") {
    throw CommandError("unknown stream " + which);
  }
  return {{"streams", all}};
}

json CommandInterpreter::sink(CommandWords& words) {
  const auto which = devices(words.word("NAME"));
  const std::string on = words.word_or("on");
  words.finish();
  if (on != "on" && on != "off") {
    throw CommandError("expected on or off");
  }
  for (Device* one : which) {
    one->side->sink = on == "on";
  }
  return json::object();
}

json CommandInterpreter::sink_wait(CommandWords& words) {
  const auto which = devices(words.word("NAMES"));
  const uint32_t id = static_cast<uint32_t>(words.number_or(0, 0, UINT32_MAX));
  const uint64_t count = words.number_or(1, 1, StreamAccount::kMaxSequence);
  const uint64_t timeout_ms = words.number_or(kDefaultTimeoutMs, 0, kMaxWaitMs);
  words.finish();
  uint64_t received = 0;
  const bool done = engine_.run_until(deadline_in(timeout_ms), [&] {
    received = 0;
    for (const Device* one : which) {
      const auto at = one->side->accounts.find(id);
      received += at == one->side->accounts.end() ? 0 : at->second.received;
    }
    return received >= count;
  });
  return {{"done", done}, {"received", received}};
}

json CommandInterpreter::stats(CommandWords& words) {
  const auto which = devices(words.word_or("all"));
  const std::string reset = words.word_or("");
  words.finish();
  if (!reset.empty() && reset != "reset") {
    throw CommandError("'" + reset + "' is not expected here");
  }
  json all = json::object();
  for (Device* one : which) {
    json accounts = json::object();
    for (auto& [id, account] : one->side->accounts) {
      accounts[std::to_string(id)] = describe_account(account);
      if (!reset.empty()) {
        account = StreamAccount(account.any() ? account.highest + 1 : account.start);
      }
    }
    all[one->name] = {
        {"streams", accounts},
        {"other_frames", one->side->other_frames},
        {"rx_frames", one->side->rx_frames},
        {"tx_frames", one->side->tx_frames},
        {"broken", one->frontend->guest() != nullptr ? one->frontend->guest()->broken() : ""}};
  }
  return {{"devices", all}, {"time_ns", monotonic_ns()}};
}

json CommandInterpreter::arp_responder(CommandWords& words) {
  Device& at = device(words.word("NAME"));
  const std::string addresses = words.text("ip");
  words.finish();
  at.side->arp_addresses.clear();
  for (const std::string& text : split(addresses, ',')) {
    std::array<uint8_t, 16> ip{};
    if (parse_ip(text, &ip)) {
      throw CommandError("an ARP responder needs IPv4 addresses");
    }
    at.side->arp_addresses.insert(uint32_t{ip[0]} << 24 | uint32_t{ip[1]} << 16 |
                                  uint32_t{ip[2]} << 8 | ip[3]);
  }
  return {{"addresses", at.side->arp_addresses.size()}};
}

}  // namespace godwit::vhost_frontend
