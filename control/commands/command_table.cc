// SPDX-License-Identifier: Apache-2.0
#include "control/commands/command_table.h"

#include <algorithm>

#include "control/commands/command_refusal.h"
#include "control/commands/handlers.h"
#include "control/commands/parameters.h"
#include "control/commands/word_reader.h"

namespace godwit::control {
namespace {

#define RUN(name) name, print_##name

constexpr Command kCommands[] = {
    {"version", "", "version", "show the version of this switch", read_nothing, RUN(show_version)},
    {"help", "[COMMAND]", "help", "list the commands", read_help, RUN(help)},
    {"quit", "", "quit", "end the session", read_nothing, RUN(quit)},

    {"show port summary", "all|{port}", "show.port.summary", "list ports, one per line",
     read_port_or_all, RUN(show_port_summary)},
    {"show port info", "all|{port}", "show.port.info", "show all details of ports",
     read_port_or_all, RUN(show_port_info)},
    {"show port stats", "all|{port}", "show.port.stats", "show packets, bytes and drops of ports",
     read_port_or_all, RUN(show_port_stats)},
    {"clear port stats", "all|{port}", "clear.port.stats", "reset the counters of ports",
     read_port_or_all, RUN(clear_port_stats)},
    {"show endpoints", "", "show.endpoints",
     "list endpoints with their locations, addresses and rules", read_nothing, RUN(show_endpoints)},
    {"show fdb", "", "show.fdb", "list learned MAC addresses", read_nothing, RUN(show_fdb)},
    {"show drops", "", "show.drops", "show drops by reason, over all ports", read_nothing,
     RUN(show_drops)},
    {"show workers", "", "show.workers", "list workers and their load", read_nothing,
     RUN(show_workers)},
    {"show state", "", "show.state", "list damaged records of the state that were set aside",
     read_nothing, RUN(show_state)},
    {"show memory", "", "show.memory", "show packet buffers and memory", read_nothing,
     RUN(show_memory)},

    {"port attach vhost",
     "NAME socket=PATH[,mode=server][,queues=N][,mtu=N][,mac=..][,ip=..][,vlan=N][,miss=drop]",
     "port.attach.vhost", "open a vhost-user port for an endpoint", read_port_attach_vhost,
     RUN(port_attach_vhost)},
    {"port attach ethdev", "NAME DEVARGS [mtu=N]", "port.attach.ethdev",
     "open a device as an uplink", read_port_attach_ethdev, RUN(port_attach_ethdev)},
    {"port detach", "{port}", "port.detach", "close a port; its endpoint and rules stay", read_port,
     RUN(port_detach)},

    {"endpoint add",
     "NAME [location none|uplink:NAME] [mac ..] [ip ..] [vlan N] [mtu N] [queues N] [miss drop]",
     "endpoint.add", "define an endpoint that has no port here", read_endpoint_add,
     RUN(endpoint_add)},
    {"endpoint set", "NAME [location port|none|uplink:NAME] [mac ..] [ip ..] [vlan N] [miss drop]",
     "endpoint.set", "change the location or the addresses of an endpoint", read_endpoint_add,
     RUN(endpoint_set)},
    {"endpoint del", "NAME", "endpoint.del", "remove an endpoint that no rule names",
     read_endpoint_del, RUN(endpoint_del)},

    {"flow validate",
     "{port} [group N] [priority N] ingress|egress|transfer pattern ITEM / ... / end actions "
     "ACTION / ... / end",
     "flow.validate", "check a rule without creating it", read_flow, RUN(flow_validate)},
    {"flow create",
     "{port} [group N] [priority N] ingress|egress|transfer pattern ITEM / ... / end actions "
     "ACTION / ... / end",
     "flow.create", "create a rule", read_flow, RUN(flow_create)},
    {"flow destroy", "{port} rule N [rule N]...", "flow.destroy", "destroy rules", read_flow,
     RUN(flow_destroy)},
    {"flow flush", "{port}", "flow.flush", "destroy all rules of a port", read_flow,
     RUN(flow_flush)},
    {"flow query", "{port} N count", "flow.query", "show packets and bytes of a rule", read_flow,
     RUN(flow_query)},
    {"flow list", "{port} [group N]...", "flow.list", "list the rules of a port as commands",
     read_flow, RUN(flow_list)},
    {"flow dump", "{port} all|rule N", "flow.dump", "show all details of rules", read_flow,
     RUN(flow_dump)},

    {"migration export", "VM [FILE]", "migration.export", "export the policy of a VM as a document",
     read_migration_export, RUN(migration_export)},
    {"migration rewrite", "VM", "migration.rewrite",
     "remove a VM that has left: delete its rules, point rules to it at the uplink",
     read_migration_rewrite, RUN(migration_rewrite)},
    {"migration import", "FILE [NAME=socket:PATH|NAME=port:N]...", "migration.import",
     "import a VM that has arrived: create the rules of its document at new ports",
     read_migration_import, RUN(migration_import)},
    {"migrate start", "VM|--all PEER", "migrate.start",
     "move the policy of a VM, or of all VMs here, to another host", read_migrate_start,
     RUN(migrate_start)},
    {"migrate pull", "VM FROM", "migrate.pull", "ask another host to move the policy of a VM here",
     read_migrate_pull, RUN(migrate_pull)},
    {"migrate status", "[VM]", "migrate.status", "list moves under way and finished moves",
     read_migrate_status, RUN(migrate_status)},
    {"migrate show", "ID", "migrate.show", "show a move step by step", read_migrate_show,
     RUN(migrate_show)},
    {"migrate cancel", "VM|--all", "migrate.cancel",
     "cancel a move, or all moves that can be cancelled", read_migrate_cancel, RUN(migrate_cancel)},
    {"migrate list", "", "migrate.list", "list all moves", read_nothing, RUN(migrate_status)},
    {"peer list", "", "peer.list", "list other hosts with their permissions and sessions",
     read_nothing, RUN(peer_list)},
    {"peer ping", "HOST [count N]", "peer.ping",
     "check that a peer answers; show its certificate and round trip", read_peer_ping, nullptr,
     print_peer_ping, peer_ping},
};

#undef RUN

std::vector<std::vector<std::string_view>> split_table() {
  std::vector<std::vector<std::string_view>> out;
  for (const Command& command : kCommands) {
    std::vector<std::string_view>& words = out.emplace_back();
    for (const Token& word : tokenize(command.words)) words.push_back(word.text);
  }
  return out;
}

// Returns the words that may follow the first `same` words of the line.
std::string next_words(std::span<const Token> line, size_t same) {
  std::vector<std::string_view> list;
  for (const Command& command : kCommands) {
    const auto& own = words_of(command);
    if (common_words(line, command) < same || own.size() <= same) continue;
    if (std::ranges::find(list, own[same]) == list.end()) list.push_back(own[same]);
  }
  std::string out;
  for (const std::string_view word : list) out += (out.empty() ? "" : ", ") + std::string(word);
  return out;
}

}  // namespace

std::span<const Command> commands() { return kCommands; }

const std::vector<std::string_view>& words_of(const Command& command) {
  static const std::vector<std::vector<std::string_view>> kWords = split_table();
  return kWords[static_cast<size_t>(&command - kCommands)];
}

size_t common_words(std::span<const Token> line, const Command& command) {
  const auto& own = words_of(command);
  size_t same = 0;
  while (same < own.size() && same < line.size() && own[same] == line[same].text) ++same;
  return same;
}

const Command& find_command(std::string_view line, std::span<const Token> words) {
  size_t most = 0;
  for (const Command& command : kCommands) {
    const size_t same = common_words(words, command);
    if (same == words_of(command).size()) return command;
    most = std::max(most, same);
  }
  Error error{"no such command", 0, static_cast<uint32_t>(line.size() + 1), "",
              next_words(words, most)};
  if (most < words.size()) {
    error.column = words[most].column;
    error.token = printable(words[most].text);
  } else {
    error.message = "the line ends too early";
  }
  throw CommandRefusal{kInvalidParams, std::move(error)};
}

Json read_help(WordReader& words) {
  const std::string about = words.rest();
  return about.empty() ? Json::object() : Json{{"command", about}};
}

Json help(CommandContext&, const Json& json) {
  const Parameters params(json, {"command"});
  const std::string about_text = params.text_or("command", "");
  const std::vector<Token> about = tokenize(about_text);
  Json list = Json::array();
  for (const Command& command : kCommands) {
    if (common_words(about, command) < std::min(about.size(), words_of(command).size())) continue;
    list.push_back({{"words", command.words},
                    {"params", command.params},
                    {"method", command.method},
                    {"help", command.help}});
  }
  if (list.empty()) refuse("no such command", printable(about.front().text), next_words({}, 0));
  return {{"commands", std::move(list)}};
}

std::string print_help(const Json& data, const Json&) {
  std::string out;
  for (const Json& command : data.at("commands")) {
    const auto text = [&](const char* name) { return command.at(name).get<std::string>(); };
    out += text("words") + (text("params").empty() ? "" : " ") + text("params") + "\n    " +
           text("help") + "\n";
  }
  return out;
}

// The client ends a session by itself. A file of commands may still send `quit`.
Json quit(CommandContext&, const Json& json) {
  const Parameters params(json, {});
  return Json::object();
}
std::string print_quit(const Json&, const Json&) { return {}; }

}  // namespace godwit::control
