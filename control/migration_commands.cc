// SPDX-License-Identifier: Apache-2.0
//
// Moving a VM's policy: by hand (export, rewrite, import of a document) and between peers. Files are the client's: the
// daemon opens none that a client names.
#include "migration/document.h"

#include "control/command_support.h"
#include "control/commands.h"
#include "control/handlers.h"
#include "dataplane/policy_store.h"
#include "dataplane/ports.h"
#include "migration/driver.h"

namespace godwit::control {
namespace {

std::string count_text(const Json& data, const char* name, const char* what) {
  const auto count = data.at(name).get<uint64_t>();
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string ports_text(const Json& ports) {
  std::string out;
  for (const auto& [name, port] : ports.items()) out += "  " + name + ": port " + std::to_string(port.get<unsigned>()) + "\n";
  return out;
}

Json describe(const migration::MoveStatus& move) {
  return {{"vm", move.vm},
          {"peer", move.peer},
          {"role", move.role},
          {"state", move.state},
          {"id", move.id},
          {"error", move.error.empty() ? Json() : Json(move.error)},
          {"rules_exported", move.rules_exported},
          {"rules_rewritten", move.rules_rewritten},
          {"rules_imported", move.rules_imported},
          {"parked", move.parked},
          {"redirected", move.redirected},
          {"park_overflow", move.park_overflow},
          {"redirect_duplicate", move.redirect_duplicate},
          {"freeze_ns", move.freeze_ns},
          {"handover_ns", move.handover_ns},
          {"active_ns", move.active_ns},
          {"proof_ns", move.proof_ns},
          {"done_ns", move.done_ns},
          {"rings_running_ns", move.rings_running_ns},
          {"first_packet_ns", move.first_packet_ns}};
}

// BIND: NAME=socket:PATH | NAME=port:N
void read_bind(const WordReader& words, const Word& word, Json& bind) {
  const std::string expected = "NAME=socket:PATH or NAME=port:N";
  const size_t equals = word.text.find('=');
  if (equals == std::string_view::npos) WordReader::wrong(word, "not a binding", expected);
  const std::string name(word.text.substr(0, equals));
  const std::string_view value = word.text.substr(equals + 1);
  if (bind.contains(name)) WordReader::wrong(word, "the endpoint is bound twice", "one binding for each");
  if (value.starts_with("socket:")) {
    bind[name] = {{"socket", value.substr(7)}};
  } else if (value.starts_with("port:")) {
    bind[name] = {{"port", words.number({value.substr(5), word.column + static_cast<uint32_t>(equals + 6)}, PortId{}.value - 1u)}};
  } else {
    WordReader::wrong(word, "not a binding", expected);
  }
}

std::map<std::string, migration::ImportBinding> bindings(const Json& json) {
  std::map<std::string, migration::ImportBinding> out;
  if (!json.is_object()) Params::wrong("\"bind\" must be an object: endpoint -> {\"socket\"} or {\"port\"}");
  for (const auto& [name, value] : json.items()) {
    if (!value.is_object() || value.size() != 1) Params::wrong("a binding is {\"socket\"} or {\"port\"}");
    const Params one(value, {"socket", "port"});
    migration::ImportBinding& binding = out[name];
    if (one.has("socket")) binding.socket_path = one.text("socket");
    if (one.has("port")) binding.port = PortId(static_cast<uint16_t>(one.number("port", 0, PortId{}.value - 1u)));
    if (one.has("socket") && (binding.socket_path.empty() || binding.socket_path.find('\0') != std::string::npos)) {
      Params::wrong("\"socket\" must be a path");
    }
  }
  return out;
}

}  // namespace

Json read_vm(WordReader& words) {
  Json params{{"vm", words.text("a VM's name")}};
  words.end();
  return params;
}

Json read_vm_or_all(WordReader& words) {
  Json params = Json::object();
  if (words.more()) params["vm"] = words.text("a VM's name");
  words.end();
  return params;
}

Json read_migration_export(WordReader& words) {
  Json params{{"vm", words.text("a VM's name")}};
  if (words.more()) params["file"] = words.text("a file's name");
  words.end();
  return params;
}

Json migration_export(Context& context, const Json& json) {
  const Params params(json, {"vm", "file"});  // the file is written by who asks
  return migration::to_json(take(context.driver.export_vm(params.text("vm"))));
}
std::string print_migration_export(const Json& data, const Json& params) {
  if (!params.contains("file")) return data.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return "Exported " + data.at("vm").get<std::string>() + ": " + std::to_string(data.at("rules").size()) + " rules\n";
}

Json migration_rewrite(Context& context, const Json& json) {
  const Params params(json, {"vm"});
  const migration::RewriteReport report = take(context.driver.rewrite_vm(params.text("vm")));
  return {{"transmit_rules_removed", report.transmit_rules_removed},
          {"receive_rules_rewritten", report.receive_rules_rewritten},
          {"uplink_rules_removed", report.uplink_rules_removed},
          {"old_ports", report.old_ports}};
}
std::string print_migration_rewrite(const Json& data, const Json&) {
  return count_text(data, "transmit_rules_removed", "transmit rule") + " removed\n" +
         count_text(data, "receive_rules_rewritten", "receive rule") + " lead to the uplink\n" +
         count_text(data, "uplink_rules_removed", "uplink rule") + " removed\n" + "Old ports:\n" + ports_text(data.at("old_ports"));
}

Json read_migration_import(WordReader& words) {
  Json params{{"file", words.text("a file's name")}};
  Json bind = Json::object();
  while (words.more()) read_bind(words, words.next(""), bind);
  if (!bind.empty()) params["bind"] = std::move(bind);
  return params;
}

Json migration_import(Context& context, const Json& json) {
  const Params params(json, {"document", "bind", "file"});
  if (params.has("file")) {
    refuse("the daemon opens no files of its clients: the godwit command reads the file and calls migration.import", printable(params.text("file")));
  }
  const Json& given = params.raw("document");
  const migration::Document document = take(given.is_string() ? migration::document_from_text(given.get_ref<const std::string&>())
                                                              : migration::document_from_json(given));
  const auto bind = params.has("bind") ? bindings(params.raw("bind")) : std::map<std::string, migration::ImportBinding>();
  const migration::ImportReport report = take(context.driver.import_vm(document, bind));
  return {{"vm", document.vm},
          {"rules_imported", report.rules_imported},
          {"receive_rules_rewritten", report.receive_rules_rewritten},
          {"uplink_rules_added", report.uplink_rules_added},
          {"new_ports", report.new_ports},
          {"epoch", {{"counter", report.epoch.counter}, {"host", report.epoch.host}}}};
}
std::string print_migration_import(const Json& data, const Json&) {
  return count_text(data, "rules_imported", "rule") + " imported\n" +
         count_text(data, "receive_rules_rewritten", "receive rule") + " lead to the new ports\n" +
         count_text(data, "uplink_rules_added", "uplink rule") + " added\n" + "New ports:\n" + ports_text(data.at("new_ports"));
}

Json read_migrate_start(WordReader& words) {
  Json params{{"vm", words.text("a VM's name")}};
  params["peer"] = words.text("a peer's name (`peer list`)");
  words.end();
  return params;
}

Json migrate_start(Context& context, const Json& json) {
  const Params params(json, {"vm", "peer"});
  const std::string vm = params.text("vm"), peer = params.text("peer");
  return {{"id", take(context.driver.start(vm, peer))}, {"vm", vm}, {"peer", peer}};
}
std::string print_migrate_start(const Json& data, const Json&) {
  return "Moving " + data.at("vm").get<std::string>() + " to " + data.at("peer").get<std::string>() + ", move " +
         data.at("id").get<std::string>() + "\n";
}

Json migrate_status(Context& context, const Json& json) {
  const Params params(json, {"vm"});
  Json moves = Json::array();
  for (const migration::MoveStatus& move : context.driver.status(params.text_or("vm", ""))) moves.push_back(describe(move));
  return {{"moves", std::move(moves)}};
}
std::string print_migrate_status(const Json& data, const Json&) {
  std::vector<std::vector<std::string>> rows{{"VM", "Role", "Peer", "State", "Exported", "Rewritten", "Imported", "Parked", "Redirected", "Move", "Error"}};
  for (const Json& move : data.at("moves")) {
    const auto text = [&](const char* name) { return move.at(name).get<std::string>(); };
    const auto number = [&](const char* name) { return std::to_string(move.at(name).get<uint64_t>()); };
    rows.push_back({text("vm"), text("role"), text("peer"), text("state"), number("rules_exported"), number("rules_rewritten"),
                    number("rules_imported"), number("parked"), number("redirected"), text("id"),
                    move.at("error").is_null() ? "" : text("error")});
  }
  return rows.size() == 1 ? "No moves\n" : table(rows);
}

Json migrate_cancel(Context& context, const Json& json) {
  const Params params(json, {"vm"});
  const std::string vm = params.text("vm");
  take(context.driver.cancel(vm));
  return {{"vm", vm}};
}
std::string print_migrate_cancel(const Json& data, const Json&) {
  return "The move of " + data.at("vm").get<std::string>() + " is cancelled\n";
}

Json peer_list(Context& context, const Json& json) {
  const Params params(json, {});
  Json peers = Json::array();
  for (const migration::PeerStatus& peer : context.driver.peers()) {
    peers.push_back({{"host", peer.host}, {"address", peer.address}, {"connected", peer.connected}, {"error", peer.error.empty() ? Json() : Json(peer.error)}});
  }
  return {{"peers", std::move(peers)}};
}
std::string print_peer_list(const Json& data, const Json&) {
  std::vector<std::vector<std::string>> rows{{"Host", "Address", "Connected", "Error"}};
  for (const Json& peer : data.at("peers")) {
    rows.push_back({peer.at("host"), peer.at("address"), peer.at("connected").get<bool>() ? "yes" : "no",
                    peer.at("error").is_null() ? "" : peer.at("error").get<std::string>()});
  }
  return rows.size() == 1 ? "No peers\n" : table(rows);
}

}  // namespace godwit::control
