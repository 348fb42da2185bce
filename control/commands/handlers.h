// SPDX-License-Identifier: Apache-2.0
//
// The functions that command_table.cc names: for each command the function that runs it, the one
// that prints its result and, if it takes words, the one that reads them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "control/commands/command_table.h"

namespace godwit::control {

#define GODWIT_HANDLER(name)                                                  \
  nlohmann::json name(CommandContext& context, const nlohmann::json& params); \
  std::string print_##name(const nlohmann::json& data, const nlohmann::json& params)

// command_table.cc
nlohmann::json read_help(WordReader& words);
GODWIT_HANDLER(help);
GODWIT_HANDLER(quit);

// flow_commands.cc. The parameter "text" is the rest of the line after the verb. Commands other
// than `flow validate` and `flow create` also take the parts by name.
nlohmann::json read_flow(WordReader& words);
GODWIT_HANDLER(flow_validate);
GODWIT_HANDLER(flow_create);
GODWIT_HANDLER(flow_destroy);
GODWIT_HANDLER(flow_flush);
GODWIT_HANDLER(flow_query);
GODWIT_HANDLER(flow_list);
GODWIT_HANDLER(flow_dump);

// port_commands.cc
nlohmann::json read_port_attach_vhost(WordReader& words);
nlohmann::json read_port_attach_ethdev(WordReader& words);
GODWIT_HANDLER(port_attach_vhost);
GODWIT_HANDLER(port_attach_ethdev);
GODWIT_HANDLER(port_detach);

// endpoint_commands.cc
nlohmann::json read_endpoint_add(WordReader& words);
nlohmann::json read_endpoint_del(WordReader& words);
GODWIT_HANDLER(endpoint_add);
GODWIT_HANDLER(endpoint_set);
GODWIT_HANDLER(endpoint_del);

// migration_commands.cc
nlohmann::json read_migration_export(WordReader& words);
nlohmann::json read_migration_rewrite(WordReader& words);
nlohmann::json read_migration_import(WordReader& words);
GODWIT_HANDLER(migration_export);
GODWIT_HANDLER(migration_rewrite);
GODWIT_HANDLER(migration_import);

// migrate_commands.cc
nlohmann::json read_migrate_status(WordReader& words);
nlohmann::json read_migrate_start(WordReader& words);
nlohmann::json read_migrate_pull(WordReader& words);
nlohmann::json read_migrate_cancel(WordReader& words);
nlohmann::json read_migrate_show(WordReader& words);
GODWIT_HANDLER(migrate_start);
GODWIT_HANDLER(migrate_pull);
GODWIT_HANDLER(migrate_status);
GODWIT_HANDLER(migrate_show);
GODWIT_HANDLER(migrate_cancel);

// peer_commands.cc
nlohmann::json read_peer_ping(WordReader& words);
GODWIT_HANDLER(peer_list);
void peer_ping(CommandContext& context, const nlohmann::json& params, CommandDone done);
std::string print_peer_ping(const nlohmann::json& data, const nlohmann::json& params);

// show_commands.cc
GODWIT_HANDLER(show_version);
GODWIT_HANDLER(show_port_summary);
GODWIT_HANDLER(show_port_info);
GODWIT_HANDLER(show_port_stats);
GODWIT_HANDLER(clear_port_stats);
GODWIT_HANDLER(show_endpoints);
GODWIT_HANDLER(show_fdb);
GODWIT_HANDLER(show_drops);
GODWIT_HANDLER(show_workers);
GODWIT_HANDLER(show_memory);
GODWIT_HANDLER(show_state);

#undef GODWIT_HANDLER

}  // namespace godwit::control
