// SPDX-License-Identifier: Apache-2.0
//
// The `migration` commands move a VM's policy by hand. The `migrate` commands, in
// migrate_commands.cc, move it between peers.
//
// `export` returns the policy as a document, and `import` puts it in force on another host.
// `rewrite` clears the old host. It removes the VM's transmit rules and the uplink rules that lead
// to the VM alone, makes its receive rules lead to the uplink, and unbinds its ports.
//
// The client reads and writes the documents' files. The daemon opens no file that a client names.
#include "base/ids.h"
#include "control/commands/command_context.h"
#include "control/commands/command_refusal.h"
#include "control/commands/handlers.h"
#include "control/commands/parameters.h"
#include "control/commands/word_reader.h"
#include "migration/engine/engine.h"
#include "migration/policy/document_json.h"

namespace godwit::control {
namespace {

constexpr const char* kBinding = "{\"socket\": PATH} or {\"port\": N}";

// Returns "1 rule" or "2 rules".
std::string count_text(uint64_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}
std::string count_text(const Json& data, const char* name, const char* what) {
  return count_text(data.at(name).get<uint64_t>(), what);
}
// Returns "1 receive rule leads" or "2 receive rules lead".
std::string receive_rules_text(const Json& data) {
  const auto count = data.at("receive_rules_rewritten").get<uint64_t>();
  return count_text(count, "receive rule") + (count == 1 ? " leads" : " lead");
}

std::string ports_text(const Json& ports) {
  std::string out;
  for (const auto& [name, port] : ports.items())
    out += "  " + name + ": port " + std::to_string(port.get<unsigned>()) + "\n";
  return out;
}

// Reads NAME=socket:PATH or NAME=port:N into `bind`, an object with a member for each endpoint.
void read_bind(const Token& word, Json& bind) {
  const std::string expected = "NAME=socket:PATH or NAME=port:N";
  const size_t equals = word.text.find('=');
  if (equals == std::string_view::npos) WordReader::wrong(word, "not a binding", expected);
  const std::string name(word.text.substr(0, equals));
  const std::string_view value = word.text.substr(equals + 1);
  if (bind.contains(name))
    WordReader::wrong(word, "the endpoint is bound twice", "one binding for each endpoint");
  if (value.starts_with("socket:")) {
    bind[name] = {{"socket", value.substr(7)}};
  } else if (value.starts_with("port:")) {
    // 6 is the length of "=port:". Port numbers end before the invalid PortId.
    bind[name] = {
        {"port", WordReader::number(WordReader::part(word, equals + 6), PortId{}.value - 1u)}};
  } else {
    WordReader::wrong(word, "not a binding", expected);
  }
}

// Returns the bindings of an object that has a kBinding for each endpoint's name.
std::map<std::string, migration::ImportBinding> bindings(const Json& json) {
  std::map<std::string, migration::ImportBinding> out;
  if (!json.is_object())
    Parameters::wrong("\"bind\" must be an object with a member for each endpoint: " +
                      std::string(kBinding));
  for (const auto& [name, value] : json.items()) {
    if (!value.is_object() || value.size() != 1)
      Parameters::wrong("a binding in \"bind\" must be " + std::string(kBinding));
    const Parameters one(value, {"socket", "port"});
    migration::ImportBinding& binding = out[name];
    if (one.has("socket")) binding.socket_path = one.text("socket");
    if (one.has("port"))
      binding.port = PortId(static_cast<uint16_t>(one.number("port", 0, PortId{}.value - 1u)));
    if (one.has("socket") &&
        (binding.socket_path.empty() || binding.socket_path.find('\0') != std::string::npos)) {
      Parameters::wrong("\"socket\" must be a path that is not empty and has no zero byte");
    }
  }
  return out;
}

}  // namespace

Json read_migration_export(WordReader& words) {
  Json params{{"vm", words.text("a VM's name")}};
  if (words.more()) params["file"] = words.text("a file's name");
  words.end();
  return params;
}

Json migration_export(CommandContext& context, const Json& json) {
  const Parameters params(json, {"vm", "file"});  // "file" is for the client, which writes it
  return migration::to_json(take(context.engine.export_vm(params.text("vm"))));
}
std::string print_migration_export(const Json& data, const Json& params) {
  if (!params.contains("file"))
    return data.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return "Exported " + data.at("vm").get<std::string>() + ": " +
         count_text(data.at("rules").size(), "rule") + "\n";
}

Json read_migration_rewrite(WordReader& words) {
  Json params{{"vm", words.text("a VM's name")}};
  words.end();
  return params;
}

Json migration_rewrite(CommandContext& context, const Json& json) {
  const Parameters params(json, {"vm"});
  const migration::RewriteReport report = take(context.engine.rewrite_vm(params.text("vm")));
  return {{"transmit_rules_removed", report.transmit_rules_removed},
          {"receive_rules_rewritten", report.receive_rules_rewritten},
          {"uplink_rules_removed", report.uplink_rules_removed},
          {"old_ports", report.old_ports}};
}
std::string print_migration_rewrite(const Json& data, const Json&) {
  return count_text(data, "transmit_rules_removed", "transmit rule") + " removed\n" +
         receive_rules_text(data) + " to the uplink\n" +
         count_text(data, "uplink_rules_removed", "uplink rule") + " removed\n" + "Old ports:\n" +
         ports_text(data.at("old_ports"));
}

Json read_migration_import(WordReader& words) {
  Json params{{"file", words.text("a file's name")}};
  Json bind = Json::object();
  while (words.more()) read_bind(words.next(""), bind);
  if (!bind.empty()) params["bind"] = std::move(bind);
  return params;
}

Json migration_import(CommandContext& context, const Json& json) {
  const Parameters params(json, {"document", "bind", "file"});
  if (params.has("file")) {
    refuse(
        "the daemon does not open its clients' files: the godwit command reads the file and calls "
        "migration.import",
        printable(params.text("file")), "\"document\" with the text or the object of the document");
  }
  const Json& given = params.raw("document");
  const migration::Document document =
      take(given.is_string() ? migration::document_from_text(given.get_ref<const std::string&>())
                             : migration::document_from_json(given));
  const auto bind = params.has("bind") ? bindings(params.raw("bind"))
                                       : std::map<std::string, migration::ImportBinding>();
  const migration::ImportReport report = take(context.engine.import_vm(document, bind));
  return {{"vm", document.vm},
          {"rules_imported", report.rules_imported},
          {"receive_rules_rewritten", report.receive_rules_rewritten},
          {"uplink_rules_added", report.uplink_rules_added},
          {"new_ports", report.new_ports},
          {"epoch", {{"counter", report.epoch.counter}, {"host", report.epoch.host}}}};
}
std::string print_migration_import(const Json& data, const Json&) {
  return count_text(data, "rules_imported", "rule") + " imported\n" + receive_rules_text(data) +
         " to the new ports\n" + count_text(data, "uplink_rules_added", "uplink rule") +
         " added\n" + "New ports:\n" + ports_text(data.at("new_ports"));
}

}  // namespace godwit::control
