// SPDX-License-Identifier: Apache-2.0
//
// The checksum in the last column (`sum`) of each row of the state file: FNV-1a with 64 bits over
// the table's name and the row's values. A row whose checksum differs is damaged.
//
// Thread safety: none needed; the functions share no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "migration/journal/records.h"

namespace godwit::migration {

[[nodiscard]] uint64_t sum_of_epoch(const std::string& vm, const Epoch& epoch);
[[nodiscard]] uint64_t sum_of_move(int64_t number, const MoveRecord& move, const std::string& head,
                                   const std::string& digest);
[[nodiscard]] uint64_t sum_of_move_rule(int64_t move, bool uplink, const DocumentRule& rule);
[[nodiscard]] uint64_t sum_of_settled(const SettledMove& move);
[[nodiscard]] uint64_t sum_of_endpoint(const std::string& name, const std::string& body);
[[nodiscard]] uint64_t sum_of_rule(const StoredRule& rule);
[[nodiscard]] uint64_t sum_of_meta(const std::string& name, const std::string& value);
[[nodiscard]] uint64_t sum_of_configured(size_t number, const std::string& line);

}  // namespace godwit::migration
