// SPDX-License-Identifier: Apache-2.0
//
// The functions that the table in commands.cc names: for each command what reads its words (where
// it takes any), what runs it and what prints its result. Parameters and results are those of the
// methods.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace godwit::control {

struct Context;
class WordReader;
using CommandDone = std::function<void(Result<nlohmann::json> data)>;

#define GODWIT_HANDLER(name)                                           \
  nlohmann::json name(Context& context, const nlohmann::json& params); \
  std::string print_##name(const nlohmann::json& data, const nlohmann::json& params)

// flow_commands.cc. Parameters: {"text"}, what follows the verb; or the parts by name, but for
// rules.
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
nlohmann::json read_vm(WordReader& words);
nlohmann::json read_vm_or_all(WordReader& words);
nlohmann::json read_migration_export(WordReader& words);
nlohmann::json read_migration_import(WordReader& words);
nlohmann::json read_migrate_start(WordReader& words);
nlohmann::json read_migrate_pull(WordReader& words);
nlohmann::json read_migrate_cancel(WordReader& words);
nlohmann::json read_migrate_show(WordReader& words);
GODWIT_HANDLER(migration_export);
GODWIT_HANDLER(migration_rewrite);
GODWIT_HANDLER(migration_import);
GODWIT_HANDLER(migrate_start);
GODWIT_HANDLER(migrate_pull);
GODWIT_HANDLER(migrate_status);
GODWIT_HANDLER(migrate_show);
GODWIT_HANDLER(migrate_cancel);

// peer_commands.cc
nlohmann::json read_peer_ping(WordReader& words);
GODWIT_HANDLER(peer_list);
void peer_ping(Context& context, const nlohmann::json& params, CommandDone done);
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

#undef GODWIT_HANDLER

}  // namespace godwit::control
