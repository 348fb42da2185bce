// SPDX-License-Identifier: Apache-2.0
//
// Planner: chooses the mask of a hash table over a set of rules. It adds bits greedily, each time
// the bit that lowers the estimated cost of a lookup most. A bit splits the groups of rules that
// agree so far. It also leaves out the rules that do not match on it, which then need a further
// place to look. A range counts as the prefix that its ends have in common. Costs are roughly CPU
// cycles; only their order matters.
//
// Thread safety: none; the writer has its own.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/classifier/bits.h"
#include "dataplane/classifier/record.h"

namespace godwit::dataplane::classifier {

// A mask with the estimated cost of a lookup in a table of that mask and in what it leaves out.
struct Plan {
  Bits mask;
  double cost = 0;
};

class Planner {
 public:
  // Sets the number of rules in the whole tree: a record that fits into a core's caches costs less
  // to read.
  void set_total(size_t rules);

  // Returns the cost of a search among n rules without hash tables, in a leaf or a bit matrix.
  [[nodiscard]] double flat_cost(double n) const;

  // Returns the best plan for `items`, of which there is at least one. The plan's mask is empty if
  // no bit distinguishes any two of them. If the items are a sample, each stands for `scale` rules.
  [[nodiscard]] Plan plan(std::span<const Record> items, double scale = 1);

 private:
  static constexpr double kProbeCost = 18;
  static constexpr size_t kPlanSample = 4096;   // items that a plan examines, at most
  static constexpr size_t kPatience = 8;        // bits without an improvement before a plan ends
  static constexpr size_t kCachedRules = 4096;  // rules that fit into the first or second cache
  static constexpr size_t kNearRules = 20000;   // rules that fit into the third cache
  struct Member {
    Bits care;  // the bits that the rule matches on
    Bits bits;  // their values
  };
  struct Count {
    uint32_t zeros = 0;
    uint32_t ones = 0;
  };
  struct Score {
    double cost = 0;       // of the groups that the bit would make, each times its size
    uint32_t covered = 0;  // members that match on the bit
    bool splits = false;
  };

  // The cost of a search among n rules in a leaf.
  [[nodiscard]] double leaf_cost(double n) const { return 12 + record_cost_ * n; }
  // The same in a bit matrix. Small matrices have a surcharge for their memory per rule.
  [[nodiscard]] static double ternary_cost(double n);
  // The same where further masks may split the rules.
  [[nodiscard]] double tree_cost(double n) const;

  void start(std::span<const Record> items, double scale);
  // Adds the best bit to the mask and regroups the members. Returns false if there is none.
  bool step(Bits& mask);
  void score_group(std::span<const Member> group, const Bits& mask,
                   std::array<Score, kCompactBits>& scores);
  void split(size_t bit);
  // The cost of this table and of the rules that it leaves out. Those are either in further tables,
  // each of which takes the same share, or in a bit matrix.
  [[nodiscard]] double total_cost(double groups, size_t covered) const;
  [[nodiscard]] double current_cost() const;

  // Groups of two or more members that agree in all bits of the mask so far, one after the other.
  std::vector<Member> members_;
  std::vector<uint32_t> groups_;  // sizes of the groups
  // Groups of one. No bit splits them, so only the bits that they match on count.
  std::vector<Member> singles_;
  std::array<uint32_t, kCompactBits> single_care_{};  // singles that match on each bit
  std::array<Count, kCompactBits> counts_{};          // all zero between groups
  std::vector<double> group_cost_;                    // by size, times the size
  size_t left_out_ = 0;
  double record_cost_ = 1.2;
  double scale_ = 1;  // items for which a member stands
};

}  // namespace godwit::dataplane::classifier
