// SPDX-License-Identifier: Apache-2.0
//
// The rules for what a journal stores. Journal::write() refuses a batch that breaks one, and
// SqliteReader sets a row aside that breaks one. Both use these functions, so a journal never
// stores what it would not load.
//
// Thread safety: pure functions.
#pragma once

#include "base/result.h"
#include "migration/journal/records.h"

namespace godwit::migration {

inline constexpr size_t kMaxWhyBytes = 16 * 1024;  // of SettledMove::why; the rest is cut

// Each returns an error that names the value at fault.
Result<void> storable(const Epoch& epoch);
Result<void> storable(const MoveRecord& move);
Result<void> storable(const SettledMove& move);
Result<void> storable(const DocumentRule& rule);
Result<void> storable(const StoredRule& rule);
Result<void> storable(const JournalBatch& batch);

// Cuts texts that are for people to their limits.
void cut_texts(SettledMove& move);

}  // namespace godwit::migration
