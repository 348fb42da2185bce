// SPDX-License-Identifier: Apache-2.0
//
// The commands of CommandInterpreter that open, stop, start and move front-ends.
#include <chrono>
#include <future>

#include "tests/tools/vhost_frontend/tool/command_interpreter.h"
#include "tests/tools/vhost_frontend/tool/replies.h"

namespace godwit::vhost_frontend {
namespace {

using nlohmann::json;

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
    throw CommandError("the back-end closed the connection: " + logged.frontend->error());
  }
  if (copy) {
    // As in QEMU, guests run meanwhile. The log records their writes during the copy.
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
    throw CommandError("expected on, off, show or clear");
  }
  DirtyLog* dirty = logged.frontend->log();
  const size_t pages = dirty != nullptr ? dirty->dirty_pages() : 0;
  if (what == "clear" && dirty != nullptr) {
    dirty->read(true);
  }
  return {{"logging", logged.frontend->logging()}, {"dirty_pages", pages}};
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

}  // namespace godwit::vhost_frontend
