// SPDX-License-Identifier: Apache-2.0
//
// The `migrate` commands start, show and cancel moves of VMs' policies between peers. The
// `migration` commands, in migration_commands.cc, move a policy by hand.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/text.h"
#include "control/commands/command_context.h"
#include "control/commands/command_refusal.h"
#include "control/commands/handlers.h"
#include "control/commands/parameters.h"
#include "control/commands/word_reader.h"
#include "migration/engine/engine.h"

namespace godwit::control {
namespace {

double milliseconds(uint64_t ns) { return static_cast<double>(ns) / 1e6; }

std::string fixed_text(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}
std::string seconds_text(double seconds) {
  return fixed_text(seconds, seconds < 100 ? 1 : 0) + " s";
}
std::string rate_text(double rate) { return fixed_text(rate, rate < 10 ? 1 : 0) + " a second"; }

// Returns a bar of 40 columns that shows the place of a step within the whole move. A step takes
// one column at least. All arguments are in the same unit.
std::string bar(double at, double length, double total) {
  constexpr int kColumns = 40;
  const double scale = total > 0 ? kColumns / total : 0;
  const int first = std::clamp(static_cast<int>(at * scale), 0, kColumns - 1);
  const int last = std::clamp(static_cast<int>((at + length) * scale), first + 1, kColumns);
  return "|" + std::string(static_cast<size_t>(first), ' ') +
         std::string(static_cast<size_t>(last - first), '#') +
         std::string(static_cast<size_t>(kColumns - last), ' ') + "|";
}

bool is_over(const migration::MoveStatus& move) {
  return move.state == "done" || move.state == "aborted";
}

// Returns the VM's blackout as this side saw it, or null if it is not known. The source measures
// from the freeze to the peer's message `active`. The destination measures from the start of the
// VM's rings to the first packet.
Json blackout_ms(const migration::MoveStatus& move) {
  const auto [from, to] = move.role == "source"
                              ? std::pair(move.times.freeze_ns, move.times.active_ns)
                              : std::pair(move.times.rings_running_ns, move.times.first_packet_ns);
  return from == 0 || to < from ? Json() : Json(milliseconds(to - from));
}

// Returns true for {"all": true} and false without "all". Refuses any other value of "all", and
// "all" together with "vm".
bool wants_all(const Parameters& params) {
  if (!params.has("all")) return false;
  if (!params.raw("all").is_boolean() || !params.raw("all").get<bool>())
    Parameters::wrong("\"all\" must be true");
  if (params.has("vm")) Parameters::wrong("the request must have \"vm\" or \"all\", not both");
  return true;
}

// Describes an evacuation. "left_ms" is the expected rest of the time, or null if it has ended or
// has no rate yet.
Json describe(const migration::EvacuationStatus& one, uint64_t now) {
  const uint64_t end = one.ended_ns != 0 ? one.ended_ns : now;
  const double rate = one.per_second(now);
  return {{"id", one.id},
          {"peer", one.peer},
          {"total", one.total},
          {"done", one.done},
          {"failed", one.failed},
          {"queued", one.queued},
          {"preparing", one.preparing},
          {"prepared", one.prepared},
          {"moving", one.moving},
          {"rules", one.rules},
          {"elapsed_ms", milliseconds(end - one.started_ns)},
          {"per_second", rate},
          {"left_ms", one.over() || rate == 0 ? Json() : Json(one.seconds_left(now) * 1e3)}};
}

// Describes a move. "left_ms" is the rest of the time limit of its state, or null without a limit.
Json describe(const migration::MoveStatus& move, uint64_t now) {
  const uint64_t end = move.steps.empty() ? now : is_over(move) ? move.steps.back().ns : now;
  const uint64_t began = move.steps.empty() ? now : move.steps.front().ns;
  return {
      {"elapsed_ms", milliseconds(end - began)},
      {"left_ms", is_over(move) || move.deadline_ns == 0
                      ? Json()
                      : Json(milliseconds(move.deadline_ns > now ? move.deadline_ns - now : 0))},
      {"evacuation", move.evacuation.empty() ? Json() : Json(move.evacuation)},
      {"vm", move.vm},
      {"peer", move.peer},
      {"role", move.role},
      {"state", move.state},
      {"id", move.id},
      {"error", move.error.empty() ? Json() : Json(move.error)},
      {"doubt", move.doubt.empty() ? Json() : Json(move.doubt)},
      {"rules_exported", move.rules_exported},
      {"rules_rewritten", move.rules_rewritten},
      {"rules_imported", move.rules_imported},
      {"parked", move.parked},
      {"redirected", move.redirected},
      {"park_overflow", move.park_overflow},
      {"redirect_duplicate", move.redirect_duplicate},
      {"freeze_ns", move.times.freeze_ns},
      {"handover_ns", move.times.handover_ns},
      {"active_ns", move.times.active_ns},
      {"proof_ns", move.times.proof_ns},
      {"done_ns", move.times.done_ns},
      {"rings_running_ns", move.times.rings_running_ns},
      {"first_packet_ns", move.times.first_packet_ns}};
}

std::string evacuation_text(const Json& one) {
  const auto number = [&](const char* name) {
    return std::to_string(one.at(name).get<uint64_t>());
  };
  std::string out = "Evacuation " + one.at("id").get<std::string>() + " to " +
                    one.at("peer").get<std::string>() + ": " + number("total") + " VMs, " +
                    number("done") + " done (" + number("rules") + " rules), " + number("failed") +
                    " failed, " + number("queued") + " queued, " + number("preparing") +
                    " being prepared, " + number("prepared") + " prepared, " + number("moving") +
                    " moving; " + rate_text(one.at("per_second").get<double>());
  const bool left = !one.at("left_ms").is_null();
  return out + (left ? ", about " + seconds_text(one.at("left_ms").get<double>() / 1e3) + " left\n"
                     : ", after " + seconds_text(one.at("elapsed_ms").get<double>() / 1e3) + "\n");
}

// Reads a VM's name or --all, and adds {"vm": NAME} or {"all": true} to `params`.
void read_vm_or_all(WordReader& words, Json& params) {
  const std::string vm = words.text("a VM's name, or --all");
  if (vm == "--all") {
    params["all"] = true;
  } else {
    params["vm"] = vm;
  }
}

}  // namespace

Json read_migrate_start(WordReader& words) {
  Json params = Json::object();
  read_vm_or_all(words, params);
  params["peer"] = words.text("a peer's name (`peer list`)");
  words.end();
  return params;
}

Json migrate_start(CommandContext& context, const Json& json) {
  const Parameters params(json, {"vm", "all", "peer"});
  const std::string peer = params.text("peer");
  if (!wants_all(params)) {
    const std::string vm = params.text("vm");
    return {{"id", take(context.engine.start(vm, peer))}, {"vm", vm}, {"peer", peer}};
  }
  const migration::EvacuationReport report = take(context.engine.start_all(peer));
  Json started = Json::array(), refused = Json::array();
  for (const auto& [vm, id] : report.started) started.push_back({{"vm", vm}, {"id", id}});
  for (const auto& [vm, reason] : report.refused)
    refused.push_back({{"vm", vm}, {"reason", reason}});
  return {{"evacuation", report.id},
          {"peer", peer},
          {"started", std::move(started)},
          {"refused", std::move(refused)}};
}
std::string print_migrate_start(const Json& data, const Json&) {
  const std::string peer = data.at("peer").get<std::string>();
  if (!data.contains("evacuation")) {
    return "Moving " + data.at("vm").get<std::string>() + " to " + peer + ", move " +
           data.at("id").get<std::string>() + "\n";
  }
  const size_t started = data.at("started").size();
  std::string out = "Moving " + std::to_string(started) + (started == 1 ? " VM to " : " VMs to ") +
                    peer + ", evacuation " + data.at("evacuation").get<std::string>() + "\n";
  for (const Json& one : data.at("refused")) {
    out += "Not started: " + one.at("vm").get<std::string>() + ": " +
           one.at("reason").get<std::string>() + "\n";
  }
  return out;
}

Json read_migrate_pull(WordReader& words) {
  Json params{{"vm", words.text("a VM's name")}};
  params["from"] = words.text("the name of the host that has it (`peer list`)");
  words.end();
  return params;
}

Json migrate_pull(CommandContext& context, const Json& json) {
  const Parameters params(json, {"vm", "from"});
  const std::string vm = params.text("vm"), from = params.text("from");
  return {{"id", take(context.engine.pull(vm, from))}, {"vm", vm}, {"from", from}};
}
std::string print_migrate_pull(const Json& data, const Json&) {
  return "Asked " + data.at("from").get<std::string>() + " for " +
         data.at("vm").get<std::string>() + ", move " + data.at("id").get<std::string>() + "\n";
}

Json read_migrate_status(WordReader& words) {
  Json params = Json::object();
  if (words.more()) params["vm"] = words.text("a VM's name");
  words.end();
  return params;
}

Json migrate_status(CommandContext& context, const Json& json) {
  const Parameters params(json, {"vm"});
  const uint64_t now = context.engine.now_ns();
  Json moves = Json::array(), evacuations = Json::array();
  for (const migration::MoveStatus& move : context.engine.status(params.text_or("vm", "")))
    moves.push_back(describe(move, now));
  if (!params.has("vm")) {
    for (const migration::EvacuationStatus& one : context.engine.evacuations())
      evacuations.push_back(describe(one, now));
  }
  return {{"moves", std::move(moves)}, {"evacuations", std::move(evacuations)}};
}
std::string print_migrate_status(const Json& data, const Json&) {
  std::vector<std::vector<std::string>> rows{{"VM", "Role", "Peer", "State", "For", "Left",
                                              "Exported", "Rewritten", "Imported", "Parked",
                                              "Redirected", "Move", "Error"}};
  for (const Json& move : data.at("moves")) {
    const auto text = [&](const char* name) { return move.at(name).get<std::string>(); };
    const auto number = [&](const char* name) {
      return std::to_string(move.at(name).get<uint64_t>());
    };
    rows.push_back(
        {text("vm"), text("role"), text("peer"), text("state"),
         seconds_text(move.at("elapsed_ms").get<double>() / 1e3),
         move.at("left_ms").is_null() ? "-" : seconds_text(move.at("left_ms").get<double>() / 1e3),
         number("rules_exported"), number("rules_rewritten"), number("rules_imported"),
         number("parked"), number("redirected"), text("id"),
         move.at("error").is_null() ? "" : text("error")});
  }
  std::string out = rows.size() == 1 ? "No moves\n" : table(rows);
  for (const Json& move : data.at("moves")) {
    if (move.at("doubt").is_null()) continue;
    out += "In doubt, move " + move.at("id").get<std::string>() + ": " +
           move.at("doubt").get<std::string>() + "\n";
  }
  for (const Json& one : data.at("evacuations")) out += evacuation_text(one);
  return out;
}

Json read_migrate_show(WordReader& words) {
  Json params{{"id", words.text("a move's id (`migrate status`)")}};
  words.end();
  return params;
}

Json migrate_show(CommandContext& context, const Json& json) {
  const Parameters params(json, {"id"});
  const migration::MoveStatus move = take(context.engine.show(params.text("id")));
  const uint64_t now = context.engine.now_ns();
  Json data = describe(move, now);
  const uint64_t began = move.steps.empty() ? now : move.steps.front().ns;
  const auto wall = std::chrono::system_clock::now() - std::chrono::nanoseconds(now - began);
  data["began_unix_ms"] =
      std::chrono::duration_cast<std::chrono::milliseconds>(wall.time_since_epoch()).count();
  data["blackout_ms"] = blackout_ms(move);
  data["steps_left_out"] = move.steps_left_out;
  Json& steps = data["steps"] = Json::array();
  for (size_t i = 0; i < move.steps.size(); ++i) {
    const migration::MoveStep& step = move.steps[i];
    const bool last = i + 1 == move.steps.size();
    const uint64_t end = !last ? move.steps[i + 1].ns : is_over(move) ? step.ns : now;
    steps.push_back({{"state", step.state},
                     {"on", step.on.empty() ? Json() : Json(step.on)},
                     {"why", step.why.empty() ? Json() : Json(step.why)},
                     {"at_ms", milliseconds(step.ns - began)},
                     {"for_ms", milliseconds(end - step.ns)}});
  }
  return data;
}
std::string print_migrate_show(const Json& data, const Json&) {
  const auto text = [&](const char* name) { return data.at(name).get<std::string>(); };
  const auto number = [&](const char* name) {
    return std::to_string(data.at(name).get<uint64_t>());
  };
  std::string out = "Move " + text("id") + " of " + text("vm") +
                    (text("role") == "source" ? " to " : " from ") + text("peer") + ": " +
                    text("state") + (data.at("error").is_null() ? "" : ", " + text("error")) +
                    "\n" + "Began " + utc_text_ms(data.at("began_unix_ms").get<int64_t>()) + ", " +
                    seconds_text(data.at("elapsed_ms").get<double>() / 1e3) + "\n\n";
  const double total = data.at("elapsed_ms").get<double>();
  std::vector<std::vector<std::string>> rows{{"At ms", "For ms", "State", "On", "", "Why"}};
  for (const Json& step : data.at("steps")) {
    const double at = step.at("at_ms").get<double>(), length = step.at("for_ms").get<double>();
    rows.push_back({fixed_text(at, 3), fixed_text(length, 3), step.at("state"),
                    step.at("on").is_null() ? "" : step.at("on").get<std::string>(),
                    bar(at, length, total),
                    step.at("why").is_null() ? "" : step.at("why").get<std::string>()});
  }
  out += table(rows);
  if (data.at("steps_left_out").get<uint64_t>() != 0)
    out += number("steps_left_out") + " steps from the middle are left out\n";
  out += "\n";
  if (!data.at("blackout_ms").is_null()) {
    out += (text("role") == "source" ? "From the freeze until the peer was active: "
                                     : "From running rings to the first packet: ") +
           fixed_text(data.at("blackout_ms").get<double>(), 3) + " ms\n";
  }
  return out + "Rules: " + number("rules_exported") + " exported, " + number("rules_rewritten") +
         " rewritten, " + number("rules_imported") + " imported\n" +
         "Packets: " + number("redirected") + " redirected; meanwhile in the whole switch " +
         number("parked") + " parked; dropped: " + number("park_overflow") + " park_overflow, " +
         number("redirect_duplicate") + " redirect_duplicate\n";
}

Json read_migrate_cancel(WordReader& words) {
  Json params = Json::object();
  read_vm_or_all(words, params);
  words.end();
  return params;
}

Json migrate_cancel(CommandContext& context, const Json& json) {
  const Parameters params(json, {"vm", "all"});
  if (!wants_all(params)) {
    const std::string vm = params.text("vm");
    take(context.engine.cancel(vm));
    return {{"vm", vm}};
  }
  Json cancelled = Json::array(), refused = Json::array();
  for (const migration::MoveStatus& move : context.engine.status()) {
    if (is_over(move)) continue;
    if (auto done = context.engine.cancel(move.vm); done) {
      cancelled.push_back(move.vm);
    } else {
      refused.push_back({{"vm", move.vm}, {"reason", done.error().message}});
    }
  }
  return {{"cancelled", std::move(cancelled)}, {"refused", std::move(refused)}};
}
std::string print_migrate_cancel(const Json& data, const Json&) {
  if (data.contains("vm"))
    return "The move of " + data.at("vm").get<std::string>() + " is cancelled\n";
  const size_t cancelled = data.at("cancelled").size();
  std::string out =
      std::to_string(cancelled) + (cancelled == 1 ? " move" : " moves") + " cancelled\n";
  for (const Json& one : data.at("refused")) {
    out += "Not cancelled: " + one.at("vm").get<std::string>() + ": " +
           one.at("reason").get<std::string>() + "\n";
  }
  return out;
}

}  // namespace godwit::control
