// SPDX-License-Identifier: Apache-2.0
//
// Ids as distinct types, so that one kind cannot be passed for another. A default-constructed id is
// invalid; its value is all ones.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <limits>

namespace godwit {

template <typename Tag, typename Rep>
struct StrongId {
  using rep = Rep;
  Rep value = std::numeric_limits<Rep>::max();

  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep v) : value(v) {}
  [[nodiscard]] constexpr bool valid() const { return value != std::numeric_limits<Rep>::max(); }
  constexpr auto operator<=>(const StrongId&) const = default;
};

// A port of this switch, by the number that commands and rules use (as in testpmd).
using PortId = StrongId<struct PortTag, uint16_t>;
// An endpoint's index in this switch's endpoint table. The index is local: hosts refer to an
// endpoint by its name.
using EndpointId = StrongId<struct EndpointTag, uint32_t>;
// A worker thread, from 0 to workers - 1.
using WorkerId = StrongId<struct WorkerTag, uint16_t>;
// A rule's number within the port on which it was created ("Flow rule #N" in testpmd).
using RuleId = StrongId<struct RuleTag, uint32_t>;
// A counter of packets and bytes, with a cell for each worker.
using CounterId = StrongId<struct CounterTag, uint32_t>;

}  // namespace godwit

template <typename Tag, typename Rep>
struct std::hash<godwit::StrongId<Tag, Rep>> {
  size_t operator()(const godwit::StrongId<Tag, Rep>& id) const noexcept {
    return std::hash<Rep>{}(id.value);
  }
};
