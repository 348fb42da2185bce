// SPDX-License-Identifier: Apache-2.0
//
// Offers the commands' words from the table, then names by the parameter's name in the table.
#include "control/commands/completion.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "control/commands/command_context.h"
#include "control/commands/command_table.h"
#include "dataplane/policy/policy_store.h"
#include "dataplane/ports.h"
#include "dataplane/rules/flow_command.h"
#include "migration/engine/engine.h"

namespace godwit::control {
namespace {

struct Candidates {
  size_t begin = 0;         // where the word to complete begins
  std::string_view prefix;  // the part typed so far
  std::string value;        // describes a value that cannot be listed, such as a number
  std::vector<std::pair<std::string, std::string>> list;  // word, help

  // Adds the word if it begins with the prefix and is not in the list yet.
  void offer(std::string_view word, std::string_view help) {
    if (!word.starts_with(prefix)) return;
    for (const auto& [known, text] : list) {
      if (known == word) return;
    }
    list.emplace_back(word, help);
  }
};

void offer_endpoints(const CommandContext& context, Candidates& out, bool with_port) {
  for (const dataplane::EndpointRecord* endpoint : context.store.endpoints()) {
    if (!with_port || endpoint->port.valid())
      out.offer(endpoint->profile.name, location_text(context, endpoint->location));
  }
}

void offer_vms(const CommandContext& context, Candidates& out) {
  std::set<std::string> vms;
  for (const dataplane::EndpointRecord* endpoint : context.store.endpoints()) {
    if (endpoint->profile.kind == dataplane::EndpointKind::kVm)
      vms.emplace(dataplane::vm_of(endpoint->profile.name));
  }
  for (const std::string& vm : vms) out.offer(vm, "a VM");
}

void offer_locations(const CommandContext& context, Candidates& out) {
  out.offer("none", "no location");
  out.offer("port", "its port here");
  for (const dataplane::EndpointRecord* endpoint : context.store.endpoints()) {
    if (endpoint->profile.kind == dataplane::EndpointKind::kUplink)
      out.offer("uplink:" + endpoint->profile.name, "behind this uplink");
  }
}

void offer_peers(const CommandContext& context, Candidates& out) {
  for (const migration::PeerStatus& peer : context.engine.peers())
    out.offer(peer.host, peer.address);
}

// Offers words for the parameter number `index` of a command, by the parameter's name in the
// command's help. `before` is the word before it.
void offer_parameter(const CommandContext& context, const Command& command, size_t index,
                     std::string_view before, Candidates& out) {
  if (index == 0 && command.params.starts_with("all|")) out.offer("all", "all ports");
  if (index == 0 && command.params.find("{port}") != std::string_view::npos) {
    offer_endpoints(context, out, true);
    for (const dataplane::PortInfo& port : context.ports.list())
      out.offer(std::to_string(port.id.value), port.name);
  }
  if (index == 0 && (command.params.starts_with("VM") || command.params.starts_with("[VM")))
    offer_vms(context, out);
  if (index == 0 && command.params.starts_with("VM|--all")) out.offer("--all", "all VMs here");
  if (index == 0 && command.params == "ID") {
    for (const migration::MoveStatus& move : context.engine.status())
      out.offer(move.id, move.vm + ", " + move.state);
  }
  if (index == 1 && (command.params == "VM|--all PEER" || command.params == "VM FROM")) {
    offer_peers(context, out);
  }
  if (index == 0 && command.params.starts_with("HOST")) offer_peers(context, out);
  if (index == 1 && command.params == "HOST [count N]") out.offer("count", "the number of pings");
  if (index == 0 && command.params.starts_with("NAME")) offer_endpoints(context, out, false);
  if (index > 0 && command.words.starts_with("endpoint ")) {
    if (index % 2 == 0 && before == "location") return offer_locations(context, out);
    if (index % 2 == 0 && before == "miss") {
      out.offer("normal", "forward as without rules");
      return out.offer("drop", "drop packets that match no rule");
    }
    if (index % 2 == 1 && command.params != "NAME") {
      for (const char* word : {"location", "mac", "ip", "vlan", "mtu", "queues", "miss"})
        out.offer(word, "");
    }
  }
  if (index == 0 && command.words == "help") {
    for (const Command& other : commands()) out.offer(words_of(other).front(), "");
  }
}

void complete_flow(const CommandContext& context, std::string_view line, Candidates& out) {
  std::vector<std::string> names;
  for (const dataplane::EndpointRecord* endpoint : context.store.endpoints())
    names.push_back(endpoint->profile.name);
  const dataplane::Completions found = dataplane::complete_flow_command(line, line.size(), names);
  out.begin = found.begin;
  out.value = found.value;
  for (const dataplane::Completion& one : found.candidates)
    out.list.emplace_back(one.word, one.help);
}

void complete_command(const CommandContext& context, std::string_view line,
                      std::vector<Token> words, Candidates& out) {
  // The last word is the one to complete if the cursor stands at its end.
  if (!words.empty() && words.back().text.end() == line.end()) {
    out.prefix = words.back().text;
    words.pop_back();
  }
  out.begin = line.size() - out.prefix.size();
  for (const Command& command : commands()) {
    const auto& own = words_of(command);
    const size_t same = common_words(words, command);
    if (same == words.size() && same < own.size()) {
      out.offer(own[same], same + 1 == own.size() ? command.help : std::string_view());
    } else if (same == own.size()) {
      offer_parameter(context, command, words.size() - own.size(),
                      words.empty() ? "" : words.back().text, out);
    }
  }
}

}  // namespace

nlohmann::json complete_line(CommandContext& context, std::string_view line, size_t cursor) {
  line = line.substr(0, std::min(cursor, line.size()));
  Candidates out;
  std::vector<Token> words = tokenize(line);
  // The rule language completes the words behind `flow`.
  if (!words.empty() && words.front().text == "flow" && words.front().text.end() != line.end()) {
    complete_flow(context, line, out);
  } else {
    complete_command(context, line, std::move(words), out);
  }
  nlohmann::json candidates = nlohmann::json::array();
  for (const auto& [word, help] : out.list) candidates.push_back({{"word", word}, {"help", help}});
  return {{"begin", out.begin}, {"candidates", std::move(candidates)}, {"value", out.value}};
}

}  // namespace godwit::control
