// SPDX-License-Identifier: Apache-2.0
#include "migration/journal/row_sums.h"

#include <string_view>

namespace godwit::migration {

namespace {

// Hashes each part after its length, so that no two lists of parts give the same bytes.
class Sum {
 public:
  explicit Sum(std::string_view table) { add(table); }
  Sum& add(std::string_view text) {
    add(static_cast<uint64_t>(text.size()));
    for (const char c : text) mix(static_cast<uint8_t>(c));
    return *this;
  }
  Sum& add(uint64_t number) {
    for (int shift = 0; shift < 64; shift += 8) mix(static_cast<uint8_t>(number >> shift));
    return *this;
  }
  Sum& add(const Epoch& epoch) { return add(epoch.counter).add(epoch.host); }
  [[nodiscard]] uint64_t value() const { return value_; }

 private:
  void mix(uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001b3u; }
  uint64_t value_ = 0xcbf29ce484222325u;
};

}  // namespace

uint64_t sum_of_epoch(const std::string& vm, const Epoch& epoch) {
  return Sum("epochs").add(vm).add(epoch).value();
}
uint64_t sum_of_move(int64_t number, const MoveRecord& move, const std::string& head,
                     const std::string& digest) {
  return Sum("moves")
      .add(static_cast<uint64_t>(number))
      .add(static_cast<uint64_t>(move.role))
      .add(move.id)
      .add(move.vm)
      .add(move.peer)
      .add(move.state)
      .add(move.offered)
      .add(move.handed)
      .add(move.nonce)
      .add(head)
      .add(digest)
      .value();
}
uint64_t sum_of_move_rule(int64_t move, bool uplink, const DocumentRule& rule) {
  return Sum("move_rules")
      .add(static_cast<uint64_t>(move))
      .add(uplink ? 1u : 0u)
      .add(rule.owner)
      .add(rule.id)
      .add(rule.text)
      .add(rule.packets)
      .add(rule.bytes)
      .value();
}
uint64_t sum_of_settled(const SettledMove& move) {
  return Sum("settled")
      .add(static_cast<uint64_t>(move.role))
      .add(move.id)
      .add(move.vm)
      .add(move.peer)
      .add(move.done ? 1u : 0u)
      .add(move.epoch)
      .add(move.why)
      .value();
}
uint64_t sum_of_endpoint(const std::string& name, const std::string& body) {
  return Sum("endpoints").add(name).add(body).value();
}
uint64_t sum_of_rule(const StoredRule& rule) {
  return Sum("rules").add(rule.owner).add(rule.id).add(rule.inside).add(rule.text).value();
}
uint64_t sum_of_meta(const std::string& name, const std::string& value) {
  return Sum("meta").add(name).add(value).value();
}
uint64_t sum_of_configured(size_t number, const std::string& line) {
  return Sum("configured").add(number).add(line).value();
}

}  // namespace godwit::migration
