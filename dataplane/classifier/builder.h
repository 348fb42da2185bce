// SPDX-License-Identifier: Apache-2.0
//
// Builder: builds a Root for the classifier's entries, aside. It works in steps, some at each
// change of the table, so that no change waits for the whole. The builder notes entries that are
// inserted and removed meanwhile, and applies these changes at the end.
//
// The builder first copies the rules from the writer's list, in its order. It then uses a stack of
// frames, each of which makes one large node:
//   plan    chooses the node's masks by a sample of the rules
//   part    assigns each rule to the first table whose mask it has, or to the rest
//   open    allocates the next table
//   chain   chains the table's rules by slot
//   slots   builds the tree below each slot, with a further frame if there are many rules
//   rest    does the same for the rules that no table takes
//   blocks  builds a ternary set instead, if no mask helps
// Budgets are counted in rules, roughly.
//
// Thread safety: the writer only. Readers see the Root only once it is published.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "dataplane/classifier/root.h"

namespace godwit::dataplane::classifier {

class Builder {
 public:
  using Entries = std::span<const RuleEntry* const>;

  Builder(const Layout& layout, const HashKey& key) : root_(std::make_shared<Root>(layout, key)) {}

  // Spends `budget` on the tree. Returns true once the tree holds exactly `entries`. These may have
  // changed since the last step if each change was noted.
  bool step(Entries entries, size_t budget);
  // Returns the finished tree. Call it once, after step() has returned true.
  [[nodiscard]] std::shared_ptr<Root> take() { return std::move(root_); }

  // Notes that `entry` was appended to the list.
  void note_insert(const RuleEntry& entry);
  // Notes that the entry at `place` goes, and that `last`, the last of the list, takes its place.
  void note_remove(const RuleEntry& entry, size_t place, const RuleEntry& last, size_t last_place);

  // Returns the memory of the tree and of the builder.
  [[nodiscard]] size_t memory_bytes() const;

 private:
  static constexpr size_t kPlanWork = 256;   // budget of the choice of one mask
  static constexpr size_t kVisited = 32768;  // rules in the planner's sample, at most
  static constexpr uint32_t kEnd = UINT32_MAX;

  struct Change {
    Record item;
    bool inserted;
  };
  struct Frame {
    Frame(Slot& where, size_t deep, std::vector<Record>&& held)
        : slot(where), depth(deep), items(std::move(held)) {}
    enum class Phase : uint8_t { kPlan, kPart, kOpen, kChain, kSlots, kRest, kBlocks };
    Phase phase = Phase::kPlan;
    Slot& slot;
    const size_t depth;
    std::vector<Record> items;
    std::vector<Bits> masks;
    // Indices into `items`: a part for each table, and the rest.
    std::vector<std::vector<uint32_t>> parts;
    // For each table, a bitmap of hashes from which `values` is estimated.
    std::vector<std::vector<uint64_t>> seen;
    std::vector<size_t> values;  // distinct masked values of each table
    Node* node = nullptr;
    TernarySet* set = nullptr;
    size_t table = 0;
    size_t at = 0;  // position in items, in a part or in the slots
    // The chains of the present table, which end with kEnd.
    std::vector<uint32_t> head;
    std::vector<uint32_t> next;
  };

  void collect(Entries entries);
  void catch_up();
  void push(Slot& slot, size_t depth, std::vector<Record>&& items);
  void pop() { frames_.pop_back(); }

  // The phases of a frame.
  void run(Frame& frame);
  void plan(Frame& frame);
  void part(Frame& frame);
  void open(Frame& frame);
  void chain(Frame& frame);
  void fill(Frame& frame);
  void rest(Frame& frame);
  void start_blocks(Frame& frame);
  void blocks(Frame& frame);

  std::shared_ptr<Root> root_;
  ptrdiff_t left_ = 0;  // of the step's budget
  bool collecting_ = true;
  size_t collected_ = 0;  // entries before this place are in items_, or noted as changed
  std::vector<Record> items_;
  size_t total_ = 0;
  std::vector<std::unique_ptr<Frame>> frames_;
  std::vector<Change> changes_;  // since the rules were collected
  size_t caught_up_ = 0;         // changes that are applied
};

}  // namespace godwit::dataplane::classifier
