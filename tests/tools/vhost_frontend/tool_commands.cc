// SPDX-License-Identifier: Apache-2.0
#include "tests/tools/vhost_frontend/tool_commands.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

namespace godwit::support {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxWaitMs = 600'000;
constexpr uint64_t kMaxSeconds = 3600;
constexpr uint64_t kMaxPps = 5'000'000;
constexpr uint64_t kDefaultTimeoutMs = 5000;
constexpr uint64_t kMaxSend = 100'000;

int64_t deadline_in(uint64_t ms) { return monotonic_ns() + static_cast<int64_t>(ms) * 1'000'000; }

void check(const Status& status) {
  if (!status.ok()) {
    throw CommandError(status.error());
  }
}

Engine::Move parse_move(const std::string& text) {
  if (text == "shared") {
    return Engine::Move::kShared;
  }
  if (text == "copy") {
    return Engine::Move::kCopy;
  }
  if (text == "dirty") {
    return Engine::Move::kDirty;
  }
  throw CommandError("mode must be shared, copy or dirty");
}

uint64_t parse_features(CommandWords& words, bool several_queues) {
  const auto without = [](uint64_t features, bool keep, uint64_t bits) {
    return keep ? features : features & ~bits;
  };
  uint64_t features = words.number_or("features", NicOptions::default_features(), 0, UINT64_MAX);
  features = without(features, words.flag_or("mrg", true), virtio::kNetMrgRxbuf);
  features = without(features, words.flag_or("event_idx", true), virtio::kRingEventIdx);
  features = without(features, words.flag_or("v1", true), virtio::kVersion1);
  features = without(features, several_queues, virtio::kNetMq);
  const uint64_t tso =
      virtio::kNetHostTso4 | virtio::kNetHostTso6 | virtio::kNetGuestTso4 | virtio::kNetGuestTso6;
  const bool csum = words.flag_or("csum", true);
  features = without(features, csum, virtio::kNetCsum | virtio::kNetGuestCsum);
  return without(features, words.flag_or("tso", true) && csum, tso);
}

}  // namespace

Device& CommandInterpreter::device(const std::string& name) {
  Device* found = engine_.find(name);
  if (found == nullptr) {
    throw CommandError("no device '" + name + "'");
  }
  return *found;
}

std::vector<Device*> CommandInterpreter::devices(const std::string& names) {
  std::vector<Device*> found;
  if (names == "all") {
    for (const auto& one : engine_.devices()) {
      found.push_back(one.get());
    }
    return found;
  }
  for (const std::string& name : split(names, ',')) {
    found.push_back(&device(name));
  }
  return found;
}

void CommandInterpreter::wait_for(uint64_t timeout_ms, const std::vector<Device*>& waited,
                                  const char* what,
                                  const std::function<bool(const VhostFrontend&)>& done) {
  const bool finished = engine_.run_until(deadline_in(timeout_ms), [&] {
    return std::all_of(waited.begin(), waited.end(),
                       [&](const Device* one) { return done(*one->frontend); });
  });
  if (finished) {
    return;
  }
  for (const Device* one : waited) {
    if (!done(*one->frontend)) {
      const std::string& error = one->frontend->error();
      throw CommandError("'" + one->name + "' is not " + what + " but " +
                         state_name(one->frontend->state()) + (error.empty() ? "" : ": " + error));
    }
  }
}

json CommandInterpreter::open(CommandWords& words) {
  const std::string name = words.word("NAME");
  FrontendOptions options;
  options.path = words.text("path");
  options.server = words.flag_or("server", true);
  options.incoming = words.flag_or("incoming", false);
  options.protocol_features = words.number_or("protocol", options.protocol_features, 0, UINT64_MAX);
  NicOptions& nic = options.nic;
  nic.queue_pairs = static_cast<uint16_t>(words.number_or("queues", 1, 1, NicOptions::kMaxPairs));
  nic.queue_size = static_cast<uint16_t>(words.number_or("size", 256, 2, SplitRing::kMaxSize));
  nic.buffer_bytes = static_cast<uint32_t>(words.number_or("buffer", 0, 0, 65536));
  nic.memory_mb = words.number_or("mem", 0, 0, 1024);
  nic.regions = static_cast<unsigned>(words.number_or("regions", 1, 1, vhost_user::kMaxRegions));
  nic.mtu = static_cast<uint16_t>(words.number_or("mtu", 1500, 68, 65521));
  nic.mac = parse_mac(words.text_or("mac", "02:00:00:00:00:01"));
  nic.features = parse_features(words, nic.queue_pairs > 1);
  words.finish();
  check(engine_.add_device(name, options));
  return {{"name", name}};
}

json CommandInterpreter::close(CommandWords& words) {
  const std::string names = words.word("NAME");
  words.finish();
  std::vector<std::string> closed;
  for (const Device* one : devices(names)) {
    closed.push_back(one->name);
  }
  for (const std::string& name : closed) {
    engine_.remove_device(name);
  }
  return {{"closed", closed}};
}

json CommandInterpreter::list(CommandWords& words) {
  const std::string names = words.word_or("all");
  words.finish();
  json all = json::array();
  for (const Device* one : devices(names)) {
    all.push_back(describe_device(*one));
  }
  return {{"devices", all}};
}

json CommandInterpreter::wait(CommandWords& words) {
  const std::string names = words.word("NAME");
  const uint64_t timeout_ms = words.number_or(kDefaultTimeoutMs, 0, kMaxWaitMs);
  const std::string state = words.text_or("state", "running");
  words.finish();
  const auto waited = devices(names);
  if (state == "running") {
    wait_for(timeout_ms, waited, "running", [](const VhostFrontend& one) { return one.running(); });
  } else if (state == "stopped") {
    wait_for(timeout_ms, waited, "stopped", [](const VhostFrontend& one) { return one.stopped(); });
  } else if (state == "ready") {
    wait_for(timeout_ms, waited, "ready",
             [](const VhostFrontend& one) { return one.state() == VhostFrontend::State::kReady; });
  } else if (state == "down") {
    wait_for(timeout_ms, waited, "down",
             [](const VhostFrontend& one) { return one.state() == VhostFrontend::State::kDown; });
  } else {
    throw CommandError("state must be running, stopped, ready or down");
  }
  return {{"time_ns", monotonic_ns()}};
}

json CommandInterpreter::run_for(CommandWords& words) {
  const uint64_t ms = words.number_or(100, 0, kMaxWaitMs);
  words.finish();
  engine_.run_until(deadline_in(ms), [] { return false; });
  return {{"time_ns", monotonic_ns()}};
}

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
    throw CommandError("sip and dip must be of one family");
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
    throw CommandError("no stream " + which);
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
    throw CommandError("no stream " + which);
  }
  return {{"streams", all}};
}

json CommandInterpreter::sink(CommandWords& words) {
  const auto which = devices(words.word("NAME"));
  const std::string on = words.word_or("on");
  words.finish();
  if (on != "on" && on != "off") {
    throw CommandError("on or off");
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

json CommandInterpreter::stop_devices(const std::vector<Device*>& stopped, uint64_t timeout_ms) {
  const int64_t asked_ns = monotonic_ns();
  for (const Device* one : stopped) {
    one->frontend->stop();
  }
  wait_for(timeout_ms, stopped, "stopped", [](const VhostFrontend& one) { return one.stopped(); });
  json all = json::object();
  for (const Device* one : stopped) {
    json rings = json::array();
    const GuestNic* guest = one->frontend->guest();
    for (unsigned i = 0; guest != nullptr && i < guest->ring_count(); ++i) {
      rings.push_back({{"base", guest->base(i)},
                       {"used", guest->ring(i).device_used_index()},
                       {"avail", guest->ring(i).driver_avail_index()}});
    }
    all[one->name] = rings;
  }
  return {{"rings", all}, {"asked_ns", asked_ns}, {"stopped_ns", monotonic_ns()}};
}

json CommandInterpreter::stop(CommandWords& words) {
  const auto stopped = devices(words.word("NAME"));
  const uint64_t timeout_ms = words.number_or("timeout_ms", kDefaultTimeoutMs, 0, kMaxWaitMs);
  words.finish();
  return stop_devices(stopped, timeout_ms);
}

json CommandInterpreter::move_and_start(Device& from, Device& to, Engine::Move how,
                                        uint64_t timeout_ms) {
  check(engine_.move_guest(from, to, how));
  const int64_t asked_ns = monotonic_ns();
  to.frontend->start();
  wait_for(timeout_ms, {&to}, "running", [](const VhostFrontend& one) { return one.running(); });
  json result = {{"asked_ns", asked_ns}, {"running_ns", monotonic_ns()}};
  if (how == Engine::Move::kDirty) {
    result["pages_logged"] = to.copied.pages_logged;
    result["pages_copied"] = to.copied.pages_copied;
    result["pages_missed"] = to.copied.pages_missed;
  }
  return result;
}

json CommandInterpreter::resume(CommandWords& words) {
  const std::string names = words.word("NAME");
  const std::string on = words.text_or("on", "");
  const Engine::Move how = parse_move(words.text_or("mode", "shared"));
  const uint64_t timeout_ms = words.number_or("timeout_ms", kDefaultTimeoutMs, 0, kMaxWaitMs);
  words.finish();
  if (!on.empty()) {
    return move_and_start(device(names), device(on), how, timeout_ms);
  }
  const auto resumed = devices(names);
  const int64_t asked_ns = monotonic_ns();
  for (const Device* one : resumed) {
    if (one->frontend->guest() == nullptr) {
      throw CommandError("'" + one->name + "' has no guest");
    }
    one->frontend->start();
  }
  wait_for(timeout_ms, resumed, "running", [](const VhostFrontend& one) { return one.running(); });
  return {{"asked_ns", asked_ns}, {"running_ns", monotonic_ns()}};
}

void CommandInterpreter::begin_log(Device& logged, bool copy) {
  check(logged.frontend->set_logging(true));
  wait_for(kDefaultTimeoutMs, {&logged}, "logging",
           [](const VhostFrontend& one) { return one.logging_settled(); });
  if (!logged.frontend->logging()) {
    throw CommandError("the back-end went away: " + logged.frontend->error());
  }
  if (copy) {
    // As QEMU does: guests run on meanwhile. What is written under the copying is in the log.
    Status status;
    auto copying = std::async(std::launch::async,
                              [&] { return logged.frontend->guest()->begin_copy(&status); });
    engine_.run_until(deadline_in(kMaxWaitMs), [&] {
      return copying.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    });
    logged.copy = copying.get();
    check(status);
  }
}

json CommandInterpreter::migrate(CommandWords& words) {
  Device& from = device(words.word("NAME"));
  Device& to = device(words.text("on"));
  const Engine::Move how = parse_move(words.text_or("mode", "dirty"));
  const uint64_t precopy_ms = words.number_or("precopy_ms", 50, 0, kMaxWaitMs);
  const uint64_t pause_ms = words.number_or("pause_ms", 100, 0, kMaxWaitMs);
  words.finish();
  begin_log(from, how == Engine::Move::kDirty);
  engine_.run_until(deadline_in(precopy_ms), [] { return false; });
  json result = stop_devices({&from}, kDefaultTimeoutMs);
  engine_.run_until(deadline_in(pause_ms), [] { return false; });
  result.update(move_and_start(from, to, how, kDefaultTimeoutMs));
  return result;
}

json CommandInterpreter::reset(CommandWords& words) {
  const auto which = devices(words.word("NAME"));
  const uint64_t timeout_ms = words.number_or("timeout_ms", kDefaultTimeoutMs, 0, kMaxWaitMs);
  words.finish();
  for (const Device* one : which) {
    one->frontend->reset_driver();
  }
  wait_for(timeout_ms, which, "running",
           [](const VhostFrontend& one) { return one.running() && !one.wants_tick(); });
  return {{"running_ns", monotonic_ns()}};
}

json CommandInterpreter::pause(CommandWords& words) {
  const auto which = devices(words.word("NAME"));
  words.finish();
  for (const Device* one : which) {
    one->frontend->pause(true);
  }
  return json::object();
}

json CommandInterpreter::unpause(CommandWords& words) {
  const auto which = devices(words.word("NAME"));
  words.finish();
  for (Device* one : which) {
    one->frontend->pause(false);
    one->busy_ns = 0;
  }
  return json::object();
}

json CommandInterpreter::log(CommandWords& words) {
  Device& logged = device(words.word("NAME"));
  const std::string what = words.word_or("show");
  words.finish();
  if (what == "on") {
    begin_log(logged, true);
  } else if (what == "off") {
    check(logged.frontend->set_logging(false));
    wait_for(kDefaultTimeoutMs, {&logged}, "settled",
             [](const VhostFrontend& one) { return one.logging_settled(); });
    logged.copy.reset();
  } else if (what != "show" && what != "clear") {
    throw CommandError("on, off, show or clear");
  }
  DirtyLog* dirty = logged.frontend->log();
  const size_t pages = dirty != nullptr ? dirty->dirty_pages() : 0;
  if (what == "clear" && dirty != nullptr) {
    dirty->read(true);
  }
  return {{"logging", logged.frontend->logging()}, {"dirty_pages", pages}};
}

json CommandInterpreter::arp_responder(CommandWords& words) {
  Device& at = device(words.word("NAME"));
  const std::string addresses = words.text("ip");
  words.finish();
  at.side->arp_addresses.clear();
  for (const std::string& text : split(addresses, ',')) {
    std::array<uint8_t, 16> ip{};
    if (parse_ip(text, &ip)) {
      throw CommandError("ARP is for IPv4");
    }
    at.side->arp_addresses.insert(uint32_t{ip[0]} << 24 | uint32_t{ip[1]} << 16 |
                                  uint32_t{ip[2]} << 8 | ip[3]);
  }
  return {{"addresses", at.side->arp_addresses.size()}};
}

json CommandInterpreter::rarp(CommandWords& words) {
  Device& at = device(words.word("NAME"));
  words.finish();
  check(at.frontend->send_rarp());
  return json::object();
}

json CommandInterpreter::events(CommandWords& words) {
  const Device& at = device(words.word("NAME"));
  words.finish();
  json all = json::array();
  for (const VhostFrontend::Event& event : at.frontend->events()) {
    all.push_back({{"time_ns", event.time_ns}, {"what", event.what}});
  }
  return {{"events", all}};
}

json CommandInterpreter::quit(CommandWords& words) {
  words.finish();
  quit_ = true;
  return json::object();
}

json CommandInterpreter::help(CommandWords&) {
  json all = json::array();
  for (const Command& command : commands()) {
    all.push_back(std::string(command.verb) + " " + command.usage);
  }
  return {{"commands", all}};
}

const std::vector<CommandInterpreter::Command>& CommandInterpreter::commands() {
  using Self = CommandInterpreter;
  static const std::vector<Command> kCommands = {
      {"open", &Self::open,
       "NAME path=SOCKET [server=1] [incoming=0] [queues=1] [size=256] [mac=] [mtu=1500] [mem=MB] "
       "[regions=1] "
       "[buffer=BYTES] [features=MASK] [mrg=1] [csum=1] [tso=1] [event_idx=1] [v1=1] "
       "[protocol=MASK]"},
      {"close", &Self::close, "NAMES|all"},
      {"list", &Self::list, "[NAMES|all]"},
      {"wait", &Self::wait, "NAMES|all [TIMEOUT_MS] [state=running|stopped|ready|down]"},
      {"run", &Self::run_for, "[MS]   let things run for that long"},
      {"send", &Self::send,
       "NAME hex=FRAME[,FRAME] [count=1] [queue=0] [csum=full|partial] [gso_type=] [gso_size=] "
       "[header_length=] "
       "[timeout_ms=1000]"},
      {"recv", &Self::recv, "NAME [COUNT] [TIMEOUT_MS]"},
      {"stream", &Self::stream,
       "ID from=NAME dst=MAC pps=N count=N|seconds=S [src=MAC] [dip=] [sip=] [sport=] [dport=] "
       "[flows=1] [vlan=TCI] "
       "[ttl=64] [size=64] [queue=0]"},
      {"streams", &Self::streams, ""},
      {"stream-wait", &Self::stream_wait, "ID|all [TIMEOUT_MS]"},
      {"stream-stop", &Self::stream_stop, "ID|all"},
      {"sink", &Self::sink, "NAMES|all [on|off]"},
      {"sink-wait", &Self::sink_wait,
       "NAMES|all ID COUNT [TIMEOUT_MS]   until so many came, together"},
      {"stats", &Self::stats, "[NAMES|all] [reset]"},
      {"stop", &Self::stop, "NAMES|all [timeout_ms=5000]   rings stop, as in a paused VM"},
      {"resume", &Self::resume, "NAMES|all [on=NAME2] [mode=shared|copy|dirty] [timeout_ms=5000]"},
      {"migrate", &Self::migrate, "NAME on=NAME2 [mode=dirty] [precopy_ms=50] [pause_ms=100]"},
      {"reset", &Self::reset,
       "NAMES|all [timeout_ms=5000]   the driver starts anew, as in a reboot"},
      {"pause", &Self::pause, "NAMES|all   rings go on, the guest does nothing"},
      {"unpause", &Self::unpause, "NAMES|all"},
      {"log", &Self::log, "NAME [on|off|show|clear]   dirty page logging"},
      {"arp-responder", &Self::arp_responder, "NAME ip=ADDRESS[,ADDRESS]"},
      {"rarp", &Self::rarp, "NAME   SEND_RARP"},
      {"events", &Self::events, "NAME"},
      {"help", &Self::help, ""},
      {"quit", &Self::quit, ""},
  };
  return kCommands;
}

json CommandInterpreter::run(const std::string& line) {
  json reply;
  try {
    CommandWords words(line);
    const auto& all = commands();
    const auto at = std::find_if(all.begin(), all.end(),
                                 [&](const Command& one) { return one.verb == words.verb(); });
    if (at == all.end()) {
      throw CommandError("no command '" + words.verb() + "'; help lists them");
    }
    reply = (this->*at->handler)(words);
    reply["ok"] = true;
  } catch (const CommandError& error) {
    reply = {{"ok", false}, {"error", error.what()}};
  }
  return reply;
}

}  // namespace godwit::support
