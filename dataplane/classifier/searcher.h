// SPDX-License-Identifier: Apache-2.0
//
// Searcher: the readers' side of the classifier's tree. It searches for one key depth first, or for
// a batch of keys. README.md explains why this may run while the writer changes the tree.
//
// The code is in searcher.inc. It is compiled once for each instruction set: portable, AVX2, and
// AVX-512 with VBMI (Ice Lake, Zen 4 and later). The machine's best is chosen at run time.
//
// Thread safety: any number of threads at once; a search writes only what its caller passes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/classifier/root.h"

namespace godwit::dataplane::classifier {

inline constexpr size_t kBatchMax = 32;

struct Searcher {
  const char* name;
  // Classifier has functions of the same names, which say what these do.
  const RuleEntry* (*lookup)(const Root& root, const FlowKey& flow, uint64_t generation,
                             const Order* after);
  void (*lookup_batch)(const Root& root, std::span<const FlowKey* const> flows, uint64_t generation,
                       std::span<const RuleEntry*> out);
  LookupWork (*work)(const Root& root, const FlowKey& flow, uint64_t generation);
  // Parts of a search, for tests. leaf_hits() sets bit i if record i fits. candidates() writes
  // kBlockWords words to `columns`.
  Bits (*pick)(const Layout& layout, const FlowKey& flow);
  uint64_t (*leaf_hits)(const Leaf& leaf, const Bits& key);
  void (*candidates)(const TernaryBlock& block, const Bits& key, uint64_t* columns);
};

// Returns the searchers that can run on this machine, the best first. The portable one is always
// present and last.
std::span<const Searcher> searchers();

}  // namespace godwit::dataplane::classifier
