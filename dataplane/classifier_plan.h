// SPDX-License-Identifier: Apache-2.0
//
// Chooses a mask for a hash table over some rules: greedily, bit by bit, the one that lowers the estimated cost of a
// lookup most. Each bit splits the groups of rules that agree so far, and leaves out the rules that don't care for it,
// which then must be looked for elsewhere. Costs are cycles, roughly; only their order matters.
//
// Thread safety: none needed; pure functions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/classifier_internal.h"

namespace godwit::dataplane::classifier {

inline constexpr double kProbeCost = 18;
inline constexpr size_t kPlanSample = 4096;

// Of looking among n rules that further masks can split.
inline double tree_cost(double n) {
  if (n <= 0) return 0;
  if (n <= static_cast<double>(kLeafMax)) return 10 + 3 * n;
  return 34 + 22 * std::log2(n / static_cast<double>(kLeafMax));
}

// Of looking among n rules in a matrix of bits. Small ones are made dearer, since they take more memory a rule.
inline double ternary_cost(double n) { return 90 + 0.18 * n + 2 * std::max(0.0, 32 - n); }

struct Plan {
  Bits mask;
  double cost = 0;
};

class Planner {
 public:
  // At least one item; the plan's mask is empty if no bit tells any two of them apart.
  [[nodiscard]] Plan plan(std::span<const Item> items) {
    start(items);
    Plan best{{}, HUGE_VAL};
    Bits mask;
    for (size_t since = 0; since < kPatience && step(mask);) {
      const double cost = current_cost();
      if (cost < best.cost) {
        best = {mask, cost};
        since = 0;
      } else {
        ++since;
      }
    }
    return best;
  }

 private:
  static constexpr size_t kPatience = 8;
  struct Member {
    Bits care;
    Bits bits;
  };
  struct Count {
    uint32_t zeros = 0;
    uint32_t ones = 0;
  };

  void start(std::span<const Item> items) {
    const size_t stride = (items.size() + kPlanSample - 1) / kPlanSample;
    members_.clear();
    for (size_t i = 0; i < items.size(); i += stride) members_.push_back({items[i].care, items[i].bits});
    groups_.assign(1, static_cast<uint32_t>(members_.size()));
    left_out_ = 0;
    group_cost_.resize(members_.size() + 1);
    scale_ = static_cast<double>(items.size()) / static_cast<double>(members_.size());
    for (size_t n = 0; n < group_cost_.size(); ++n) {
      const auto x = static_cast<double>(n);
      group_cost_[n] = n == 0 ? 0 : x * tree_cost((x - 1) * scale_ + 1);
    }
  }

  // Adds the best bit to the mask, and regroups. False if there is none.
  bool step(Bits& mask) {
    std::array<double, kCompactBits> cost{};
    std::array<uint32_t, kCompactBits> covered{};
    std::array<bool, kCompactBits> splits{};
    size_t at = 0;
    for (const uint32_t size : groups_) {
      score_group({members_.data() + at, size}, mask, cost, covered, splits);
      at += size;
    }
    size_t chosen = kCompactBits;
    double lowest = HUGE_VAL;
    for (size_t bit = 0; bit < kCompactBits; ++bit) {
      if (!splits[bit] || covered[bit] == 0) continue;
      const double total = total_cost(cost[bit], covered[bit]);
      if (total < lowest) {
        lowest = total;
        chosen = bit;
      }
    }
    if (chosen == kCompactBits) return false;
    mask.set(chosen);
    split(chosen);
    return true;
  }

  void score_group(std::span<const Member> group, const Bits& mask, std::array<double, kCompactBits>& cost,
                   std::array<uint32_t, kCompactBits>& covered, std::array<bool, kCompactBits>& splits) {
    std::array<Count, kCompactBits> counts{};
    for (const Member& member : group) {
      for (size_t w = 0; w < 2; ++w) {
        const uint64_t ones = member.bits.word[w];
        for (uint64_t care = member.care.word[w] & ~mask.word[w]; care != 0; care &= care - 1) {
          const auto bit = static_cast<size_t>(std::countr_zero(care));
          if (((ones >> bit) & 1) != 0) {
            ++counts[w * 64 + bit].ones;
          } else {
            ++counts[w * 64 + bit].zeros;
          }
        }
      }
    }
    for (size_t bit = 0; bit < kCompactBits; ++bit) {
      const Count& count = counts[bit];
      if (count.zeros + count.ones == 0) continue;
      cost[bit] += group_cost_[count.zeros] + group_cost_[count.ones];
      covered[bit] += count.zeros + count.ones;
      if (count.zeros != 0 && count.ones != 0) splits[bit] = true;
    }
  }

  void split(size_t bit) {
    std::vector<Member> members;
    std::vector<uint32_t> groups;
    members.reserve(members_.size());
    size_t at = 0;
    for (const uint32_t size : groups_) {
      for (const bool one : {false, true}) {
        const size_t before = members.size();
        for (size_t i = at; i < at + size; ++i) {
          if (members_[i].care.test(bit) && members_[i].bits.test(bit) == one) members.push_back(members_[i]);
        }
        if (members.size() > before) groups.push_back(static_cast<uint32_t>(members.size() - before));
      }
      at += size;
    }
    left_out_ += members_.size() - members.size();
    members_.swap(members);
    groups_.swap(groups);
  }

  // Of this table, and of what it leaves out: in further tables that take the same share each, or in a ternary set.
  [[nodiscard]] double total_cost(double groups, size_t covered) const {
    const size_t out = left_out_ + members_.size() - covered;
    const double table = kProbeCost + groups / static_cast<double>(covered);
    if (out == 0) return table;
    const double rest = static_cast<double>(out) * scale_;
    const double share = static_cast<double>(covered) / static_cast<double>(covered + out);
    const double tables = std::max(0.0, std::log(rest / static_cast<double>(kLeafMax)) / -std::log1p(-share));
    return table + std::min(tables * table + tree_cost(std::min(rest, static_cast<double>(kLeafMax))),
                            ternary_cost(rest));
  }
  [[nodiscard]] double current_cost() const {
    double groups = 0;
    for (const uint32_t size : groups_) groups += group_cost_[size];
    return total_cost(groups, members_.size());
  }

  std::vector<Member> members_;    // in groups that agree in all bits of the mask so far
  std::vector<uint32_t> groups_;   // their sizes
  std::vector<double> group_cost_;  // by size, times the size
  size_t left_out_ = 0;
  double scale_ = 1;  // items a member stands for
};

}  // namespace godwit::dataplane::classifier
