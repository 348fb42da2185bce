// SPDX-License-Identifier: Apache-2.0
//
// The tables of the state file, schema 1. `PRAGMA application_id` marks a file of Godwit, and
// `PRAGMA user_version` holds the schema's number.
//
//   table       columns                                    contents
//   meta        name, value                                host: the name of the host;
//                                                          written: whether a policy was stored
//   syncs       count                                      changed by SqliteJournal::sync()
//   epochs      vm, counter, host
//   moves       seq, role, id, vm, peer, state, offered    moves in progress; head is the document
//               and handed epochs, nonce, head, digest     in JSON, without its rules
//   move_rules  seq, move, uplink, owner, id, text,        the documents' rules, with all deltas
//               packets, bytes                             applied
//   settled     seq, role, id, vm, peer, done, epoch, why  the newest kMaxSettled
//   endpoints   name, body                                 body: profile and place in JSON
//   rules       seq, owner, id, inside, text               in the order of their creation
//   configured  seq, line
//
// The table set_aside is made when a row is found damaged (set_aside_table.h).
//
// Each row but that of syncs ends with a checksum (row_sums.h).
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace godwit::migration {

inline constexpr int64_t kApplicationId = 0x47445754;  // "GDWT"
inline constexpr int64_t kSchema = 1;

// Creates the state file of `host`. It is written completely under another name and then renamed,
// so that an empty or partial file at `path` can only be a damaged one.
Result<void> create_state_file(const std::string& path, const std::string& host);

}  // namespace godwit::migration
