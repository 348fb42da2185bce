// SPDX-License-Identifier: Apache-2.0
//
// Chooses a mask for a hash table over some rules: greedily, bit by bit, the one that lowers the
// estimated cost of a lookup most. Each bit splits the groups of rules that agree so far, and
// leaves out the rules that don't care for it, which then must be looked for elsewhere. Costs are
// cycles, roughly; only their order matters.
//
// Thread safety: none needed; pure functions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/classifier/classifier_internal.h"

namespace godwit::dataplane::classifier {

inline constexpr double kProbeCost = 18;
inline constexpr size_t kPlanSample = 4096;

struct Plan {
  Bits mask;
  double cost = 0;
};

class Planner {
 public:
  // How many rules the whole tree is for: what fits into a core's caches is cheaper to read.
  void set_total(size_t rules) {
    record_cost_ = rules < kCachedRules ? 1.2 : rules < kNearRules ? 2 : 3;
  }

  // Of looking among n rules in a leaf.
  [[nodiscard]] double leaf_cost(double n) const { return 12 + record_cost_ * n; }
  // In a matrix of bits. Small ones are made dearer, since they take more memory a rule.
  [[nodiscard]] static double ternary_cost(double n) {
    return 90 + 0.18 * n + 2 * std::max(0.0, 32 - n);
  }
  // In one of the two.
  [[nodiscard]] double flat_cost(double n) const {
    return n <= static_cast<double>(kLeafMax) ? std::min(leaf_cost(n), ternary_cost(n))
                                              : ternary_cost(n);
  }
  // As may be best, where further masks can split them.
  [[nodiscard]] double tree_cost(double n) const {
    if (n <= 0) return 0;
    constexpr auto kFew = static_cast<double>(kLeafSmall);
    const double split = 34 + 22 * std::log2(std::max(1.0, n / kFew));
    return n <= static_cast<double>(kLeafMax) ? std::min(leaf_cost(n), split) : split;
  }

  // At least one item; the plan's mask is empty if no bit tells any two of them apart. Each item
  // may be one of a sample of `scale` times as many.
  [[nodiscard]] Plan plan(std::span<const Record> items, double scale = 1) {
    start(items, scale);
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
  static constexpr size_t kCachedRules = 4096;  // in the first or second cache
  static constexpr size_t kNearRules = 20000;   // in the third
  struct Member {
    Bits care;
    Bits bits;
  };
  struct Count {
    uint32_t zeros = 0;
    uint32_t ones = 0;
  };
  struct Score {
    double cost = 0;       // of the groups that the bit would make, each times its size
    uint32_t covered = 0;  // members that care for the bit
    bool splits = false;
  };

  void start(std::span<const Record> items, double scale) {
    const size_t stride = (items.size() + kPlanSample - 1) / kPlanSample;
    members_.clear();
    for (size_t i = 0; i < items.size(); i += stride)
      members_.push_back({items[i].mask, items[i].value});
    groups_.assign(1, static_cast<uint32_t>(members_.size()));
    singles_.clear();
    single_care_ = {};
    left_out_ = 0;
    group_cost_.resize(members_.size() + 1);
    scale_ = scale * static_cast<double>(items.size()) / static_cast<double>(members_.size());
    for (size_t n = 0; n < group_cost_.size(); ++n) {
      const auto x = static_cast<double>(n);
      group_cost_[n] = n == 0 ? 0 : x * tree_cost((x - 1) * scale_ + 1);
    }
  }

  // Adds the best bit to the mask, and regroups. False if there is none.
  bool step(Bits& mask) {
    std::array<Score, kCompactBits> scores{};
    size_t at = 0;
    for (const uint32_t size : groups_) {
      score_group({members_.data() + at, size}, mask, scores);
      at += size;
    }
    size_t chosen = kCompactBits;
    double lowest = HUGE_VAL;
    for (size_t bit = 0; bit < kCompactBits; ++bit) {
      const Score& score = scores[bit];
      if (!score.splits) continue;
      const double total = total_cost(score.cost + single_care_[bit] * group_cost_[1],
                                      score.covered + single_care_[bit]);
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

  template <typename Visit>
  static void each_bit(const Bits& bits, Visit visit) {
    for (size_t w = 0; w < 2; ++w) {
      for (uint64_t left = bits.word[w]; left != 0; left &= left - 1) {
        visit(w * 64 + static_cast<size_t>(std::countr_zero(left)));
      }
    }
  }

  void score_group(std::span<const Member> group, const Bits& mask,
                   std::array<Score, kCompactBits>& scores) {
    Bits any;
    for (const Member& member : group) {
      const Bits care{{member.care.word[0] & ~mask.word[0], member.care.word[1] & ~mask.word[1]}};
      any.word[0] |= care.word[0];
      any.word[1] |= care.word[1];
      each_bit(care & member.bits, [&](size_t bit) { ++counts_[bit].ones; });
      each_bit({{care.word[0] & ~member.bits.word[0], care.word[1] & ~member.bits.word[1]}},
               [&](size_t bit) { ++counts_[bit].zeros; });
    }
    each_bit(any, [&](size_t bit) {
      Count& count = counts_[bit];
      Score& score = scores[bit];
      score.cost += group_cost_[count.zeros] + group_cost_[count.ones];
      score.covered += count.zeros + count.ones;
      score.splits = score.splits || (count.zeros != 0 && count.ones != 0);
      count = {};
    });
  }

  void split(size_t bit) {
    const size_t before_count = members_.size() + singles_.size();
    std::erase_if(singles_, [&](const Member& member) {
      if (member.care.test(bit)) return false;
      each_bit(member.care, [&](size_t b) { --single_care_[b]; });
      return true;
    });
    std::vector<Member> members;
    std::vector<uint32_t> groups;
    members.reserve(members_.size());
    size_t at = 0;
    for (const uint32_t size : groups_) {
      for (const bool one : {false, true}) {
        const size_t before = members.size();
        for (size_t i = at; i < at + size; ++i) {
          if (members_[i].care.test(bit) && members_[i].bits.test(bit) == one)
            members.push_back(members_[i]);
        }
        if (members.size() == before + 1) {
          singles_.push_back(members.back());
          each_bit(members.back().care, [&](size_t b) { ++single_care_[b]; });
          members.pop_back();
        } else if (members.size() > before) {
          groups.push_back(static_cast<uint32_t>(members.size() - before));
        }
      }
      at += size;
    }
    left_out_ += before_count - members.size() - singles_.size();
    members_.swap(members);
    groups_.swap(groups);
  }

  // Of this table, and of what it leaves out: in further tables that take the same share each, or
  // in a ternary set.
  [[nodiscard]] double total_cost(double groups, size_t covered) const {
    const size_t out = left_out_ + members_.size() + singles_.size() - covered;
    const double table = kProbeCost + groups / static_cast<double>(covered);
    if (out == 0) return table;
    const double rest = static_cast<double>(out) * scale_;
    const double share = static_cast<double>(covered) / static_cast<double>(covered + out);
    const double tables =
        std::max(0.0, std::log(rest / static_cast<double>(kLeafSmall)) / -std::log1p(-share));
    return table +
           std::min(tables * table + tree_cost(std::min(rest, static_cast<double>(kLeafSmall))),
                    ternary_cost(rest));
  }
  [[nodiscard]] double current_cost() const {
    double groups = static_cast<double>(singles_.size()) * group_cost_[1];
    for (const uint32_t size : groups_) groups += group_cost_[size];
    return total_cost(groups, members_.size() + singles_.size());
  }

  std::vector<Member>
      members_;  // in groups, of two or more, that agree in all bits of the mask so far
  std::vector<uint32_t> groups_;  // their sizes
  std::vector<Member> singles_;   // groups of one: no bit splits them, so only their care counts
  std::array<uint32_t, kCompactBits> single_care_{};  // of them, how many care for each bit
  std::array<Count, kCompactBits> counts_{};          // all zero between groups
  std::vector<double> group_cost_;                    // by size, times the size
  size_t left_out_ = 0;
  double record_cost_ = 1.2;
  double scale_ = 1;  // items a member stands for
};

}  // namespace godwit::dataplane::classifier
