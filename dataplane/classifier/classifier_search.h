// SPDX-License-Identifier: Apache-2.0
//
// The readers' side of the classifier's tree: one key depth first, or a batch.
// classifier_internal.h says why this may run while the writer works.
//
// The code is in classifier_search.inc, compiled once for each instruction set: portable, AVX2,
// AVX-512 (with VBMI: Ice Lake, Zen 4 and later). What the machine has is found out at run time.
//
// Thread safety: any number at once; nothing is written but what the caller passes.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/classifier/classifier_tree.h"

namespace godwit::dataplane::classifier {

inline constexpr size_t kBatchMax = 32;

struct Searcher {
  const char* name;
  // As Classifier's functions of those names.
  const RuleEntry* (*lookup)(const Root& root, const FlowKey& flow, uint64_t generation,
                             const Order* after);
  void (*lookup_batch)(const Root& root, std::span<const FlowKey* const> flows, uint64_t generation,
                       std::span<const RuleEntry*> out);
  LookupWork (*work)(const Root& root, const FlowKey& flow, uint64_t generation);
  // Its parts, for tests.
  Bits (*pick)(const Layout& layout, const FlowKey& flow);
  uint64_t (*leaf_hits)(const Leaf& leaf, const Bits& key);  // bit i: record i fits
  void (*candidates)(const TernaryBlock& block, const Bits& key,
                     uint64_t* columns);  // columns: kBlockWords words
};

// Those that can run on this machine, the best first; the portable one is always there, and last.
std::span<const Searcher> searchers();

}  // namespace godwit::dataplane::classifier
