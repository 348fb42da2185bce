// SPDX-License-Identifier: Apache-2.0
#include "control/commands/commands.h"

#include <algorithm>
#include <exception>
#include <memory>

#include "control/commands/command_support.h"
#include "control/commands/handlers.h"

namespace godwit::control {
namespace {

// The client ends on its own; a file of commands may hold it all the same.
Json quit(Context&, const Json& json) {
  const Params params(json, {});
  return Json::object();
}
std::string print_quit(const Json&, const Json&) { return {}; }

Json read_help(WordReader& words) {
  const std::string about = words.rest();
  return about.empty() ? Json::object() : Json{{"command", about}};
}
Json help(Context& context, const Json& params);
std::string print_help(const Json& data, const Json& params);

#define RUN(name) name, print_##name

constexpr Command kCommands[] = {
    {"version", "", "version", "what runs here", read_nothing, RUN(show_version)},
    {"help", "[COMMAND]", "help", "what commands there are", read_help, RUN(help)},
    {"quit", "", "quit", "end the session", read_nothing, RUN(quit)},

    {"show port summary", "all|{port}", "show.port.summary", "ports, one a line", read_port_or_all,
     RUN(show_port_summary)},
    {"show port info", "all|{port}", "show.port.info", "all that is known of ports",
     read_port_or_all, RUN(show_port_info)},
    {"show port stats", "all|{port}", "show.port.stats", "packets, bytes and drops of ports",
     read_port_or_all, RUN(show_port_stats)},
    {"clear port stats", "all|{port}", "clear.port.stats", "count from zero again",
     read_port_or_all, RUN(clear_port_stats)},
    {"show endpoints", "", "show.endpoints", "endpoints: where they are, their addresses and rules",
     read_nothing, RUN(show_endpoints)},
    {"show fdb", "", "show.fdb", "MAC addresses learned", read_nothing, RUN(show_fdb)},
    {"show drops", "", "show.drops", "why packets were dropped, all ports", read_nothing,
     RUN(show_drops)},
    {"show workers", "", "show.workers", "workers and how busy they are", read_nothing,
     RUN(show_workers)},
    {"show memory", "", "show.memory", "packet buffers and memory", read_nothing, RUN(show_memory)},

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
     "endpoint.add", "name an endpoint that has no port here", read_endpoint_add,
     RUN(endpoint_add)},
    {"endpoint set", "NAME [location port|none|uplink:NAME] [mac ..] [ip ..] [vlan N] [miss drop]",
     "endpoint.set", "change where an endpoint is, or its addresses", read_endpoint_add,
     RUN(endpoint_set)},
    {"endpoint del", "NAME", "endpoint.del", "forget an endpoint that no rule names",
     read_endpoint_del, RUN(endpoint_del)},

    {"flow validate",
     "{port} [group N] [priority N] ingress|egress|transfer pattern ITEM / ... / end actions "
     "ACTION / ... / end",
     "flow.validate", "check a rule", read_flow, RUN(flow_validate)},
    {"flow create",
     "{port} [group N] [priority N] ingress|egress|transfer pattern ITEM / ... / end actions "
     "ACTION / ... / end",
     "flow.create", "create a rule", read_flow, RUN(flow_create)},
    {"flow destroy", "{port} rule N [rule N]...", "flow.destroy", "destroy rules", read_flow,
     RUN(flow_destroy)},
    {"flow flush", "{port}", "flow.flush", "destroy all rules of a port", read_flow,
     RUN(flow_flush)},
    {"flow query", "{port} N count", "flow.query", "packets and bytes of a rule", read_flow,
     RUN(flow_query)},
    {"flow list", "{port} [group N]...", "flow.list", "rules of a port, fit to be typed again",
     read_flow, RUN(flow_list)},
    {"flow dump", "{port} all|rule N", "flow.dump", "rules with all that is known of them",
     read_flow, RUN(flow_dump)},

    {"migration export", "VM [FILE]", "migration.export", "a VM's policy as a document",
     read_migration_export, RUN(migration_export)},
    {"migration rewrite", "VM", "migration.rewrite",
     "the VM has left: its rules go, rules to it lead to the uplink", read_vm,
     RUN(migration_rewrite)},
    {"migration import", "FILE [NAME=socket:PATH|NAME=port:N]...", "migration.import",
     "a VM has come: its document's rules, at new ports", read_migration_import,
     RUN(migration_import)},
    {"migrate start", "VM|--all PEER", "migrate.start",
     "move a VM's policy to another host, or that of all that are here", read_migrate_start,
     RUN(migrate_start)},
    {"migrate pull", "VM FROM", "migrate.pull", "ask another host to move a VM's policy here",
     read_migrate_pull, RUN(migrate_pull)},
    {"migrate status", "[VM]", "migrate.status", "moves under way and finished", read_vm_or_all,
     RUN(migrate_status)},
    {"migrate show", "ID", "migrate.show", "a move step by step", read_migrate_show,
     RUN(migrate_show)},
    {"migrate cancel", "VM|--all", "migrate.cancel", "give up a move, or all that can be given up",
     read_migrate_cancel, RUN(migrate_cancel)},
    {"migrate list", "", "migrate.list", "all moves", read_nothing, RUN(migrate_status)},
    {"peer list", "", "peer.list", "other hosts, who may move VMs, the sessions with them",
     read_nothing, RUN(peer_list)},
    {"peer ping", "HOST [count N]", "peer.ping",
     "is a peer there, by which certificate, how far away", read_peer_ping, nullptr,
     print_peer_ping, peer_ping},
};

#undef RUN

std::vector<Token> words_of(const Command& command) { return tokenize(command.words); }

// How many of the command's words the line begins with.
size_t common_words(const std::vector<Token>& words, const Command& command) {
  const std::vector<Token> own = words_of(command);
  size_t same = 0;
  while (same < own.size() && same < words.size() && own[same].text == words[same].text) ++same;
  return same;
}

// The words that could stand behind the first `same` of the line.
std::string could_follow(const std::vector<Token>& words, size_t same) {
  std::vector<std::string_view> list;
  for (const Command& command : kCommands) {
    const std::vector<Token> own = words_of(command);
    if (common_words(words, command) < same || own.size() <= same) continue;
    if (std::ranges::find(list, own[same].text) == list.end()) list.push_back(own[same].text);
  }
  std::string out;
  for (const std::string_view word : list) out += (out.empty() ? "" : ", ") + std::string(word);
  return out;
}

const Command& find_command(std::string_view line, const std::vector<Token>& words) {
  size_t most = 0;
  for (const Command& command : kCommands) {
    const size_t same = common_words(words, command);
    if (same == words_of(command).size()) return command;
    most = std::max(most, same);
  }
  Error error{"no such command", 0, static_cast<uint32_t>(line.size() + 1), "",
              could_follow(words, most)};
  if (most < words.size()) {
    error.column = words[most].column;
    error.token = printable(words[most].text);
  } else {
    error.message = "the line ends too early";
  }
  throw Refusal{kInvalidParams, std::move(error)};
}

Json help(Context&, const Json& json) {
  const Params params(json, {"command"});
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
  if (list.empty()) refuse("no such command", printable(about.front().text), could_follow({}, 0));
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

void run_one(Context& context, const Command& command, const Json& params,
             const CommandDone& done) {
  if (command.begin != nullptr) return command.begin(context, params, done);
  done(command.run(context, params));
}

void reply_with(Result<Json> data, const RpcReply& reply) {
  if (data) return reply(true, std::move(*data), {});
  reply(false, nullptr, {kRefused, std::move(data).error()});
}

// A line of words. Errors get the column that they belong to.
void run_line(Context& context, const std::string& line, const RpcReply& reply) {
  const std::vector<Token> words = tokenize(line);
  if (words.empty()) return reply(true, {{"text", ""}, {"data", Json::object()}}, {});
  const Command& command = find_command(line, words);
  const size_t own = words_of(command).size();
  // Where the parameter "text" of the flow commands begins.
  const uint32_t text_column =
      own < words.size() ? words[own].column : static_cast<uint32_t>(line.size() + 2);
  WordReader reader(line, {words.begin() + static_cast<std::ptrdiff_t>(own), words.end()});
  const Json params = command.read(reader);
  try {
    run_one(context, command, params, [&command, params, reply](Result<Json> data) {
      if (!data) return reply_with(std::move(data), reply);
      std::string text = command.print(*data, params);
      reply(true, {{"text", std::move(text)}, {"data", std::move(*data)}}, {});
    });
  } catch (Refusal& refusal) {
    Error& error = refusal.error;
    if (error.column > 0 && params.contains("text")) {
      error.column =
          std::min(error.column + text_column - 1, static_cast<uint32_t>(line.size() + 1));
    } else if (error.column == 0 && !error.token.empty()) {
      error.column = column_of(line, error.token);
    }
    throw;
  }
}

void run_method(Context& context, const std::string& method, const Json& json,
                const RpcReply& reply) {
  if (method == "command") {
    const Params params(json, {"line"});
    return run_line(context, params.text("line"), reply);
  }
  if (method == "complete") {
    const Params params(json, {"line", "cursor"});
    const std::string line = params.text("line");
    return reply(
        true,
        complete_line(context, line,
                      params.has("cursor") ? params.number("cursor", 0, UINT32_MAX) : line.size()),
        {});
  }
  for (const Command& command : kCommands) {
    if (command.method == method)
      return run_one(context, command, json,
                     [reply](Result<Json> data) { reply_with(std::move(data), reply); });
  }
  throw Refusal{kMethodNotFound, Error{"there is no method " + printable(method)}};
}

}  // namespace

std::span<const Command> commands() { return kCommands; }

void call_later(Context& context, const std::string& method, const Json& params, RpcReply reply) {
  RpcError error;
  try {
    return run_method(context, method, params, reply);
  } catch (Refusal& refusal) {
    error = {refusal.code, std::move(refusal.error)};
  } catch (const std::exception& defect) {
    // Ours: a handler let something out. The client hears of it, and the switch goes on.
    error = {kRefused, Error{std::string("internal error: ") + defect.what()}};
  }
  reply(false, nullptr, std::move(error));
}

bool call(Context& context, const std::string& method, const Json& params, Json& result,
          RpcError& error) {
  struct Reply {
    bool done = false;
    Json result;
    RpcError error{kRefused, Error{"not answered at once"}};
  };
  const auto got = std::make_shared<Reply>();
  call_later(context, method, params, [got](bool done, Json data, RpcError refused) {
    *got = {done, std::move(data), std::move(refused)};
  });
  result = got->result;
  error = got->error;
  return got->done;
}

}  // namespace godwit::control
