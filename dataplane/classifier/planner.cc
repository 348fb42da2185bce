// SPDX-License-Identifier: Apache-2.0
#include "dataplane/classifier/planner.h"

#include <algorithm>
#include <cmath>

#include "dataplane/classifier/tree_nodes.h"

namespace godwit::dataplane::classifier {

namespace {

// Calls visit(bit) for each bit that is set.
template <typename Visit>
void each_bit(const Bits& bits, Visit visit) {
  for (size_t w = 0; w < 2; ++w) {
    for (uint64_t left = bits.word[w]; left != 0; left &= left - 1) {
      visit(w * 64 + static_cast<size_t>(std::countr_zero(left)));
    }
  }
}

}  // namespace

void Planner::set_total(size_t rules) {
  record_cost_ = rules < kCachedRules ? 1.2 : rules < kNearRules ? 2 : 3;
}

double Planner::ternary_cost(double n) { return 90 + 0.18 * n + 2 * std::max(0.0, 32 - n); }

double Planner::flat_cost(double n) const {
  return n <= static_cast<double>(kLeafMax) ? std::min(leaf_cost(n), ternary_cost(n))
                                            : ternary_cost(n);
}

double Planner::tree_cost(double n) const {
  if (n <= 0) return 0;
  constexpr auto kFew = static_cast<double>(kLeafSmall);
  const double split = 34 + 22 * std::log2(std::max(1.0, n / kFew));
  return n <= static_cast<double>(kLeafMax) ? std::min(leaf_cost(n), split) : split;
}

Plan Planner::plan(std::span<const Record> items, double scale) {
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

void Planner::start(std::span<const Record> items, double scale) {
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

bool Planner::step(Bits& mask) {
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

void Planner::score_group(std::span<const Member> group, const Bits& mask,
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

void Planner::split(size_t bit) {
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

double Planner::total_cost(double groups, size_t covered) const {
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

double Planner::current_cost() const {
  double groups = static_cast<double>(singles_.size()) * group_cost_[1];
  for (const uint32_t size : groups_) groups += group_cost_[size];
  return total_cost(groups, members_.size() + singles_.size());
}

}  // namespace godwit::dataplane::classifier
