// SPDX-License-Identifier: Apache-2.0
//
// Ids that cannot be mixed up: each use is a type of its own. The all-ones value is "none".
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

// A port of this switch: what it polls. The number testpmd's users type.
using PortId = StrongId<struct PortTag, uint16_t>;
// An endpoint's place in this switch's endpoint table. Names are what travels between hosts.
using EndpointId = StrongId<struct EndpointTag, uint32_t>;
// A worker: 0 .. workers-1.
using WorkerId = StrongId<struct WorkerTag, uint16_t>;
// A rule's number within the port it was created on (testpmd: "Flow rule #N").
using RuleId = StrongId<struct RuleTag, uint32_t>;
// A slot for packets and bytes, one cell per worker.
using CounterId = StrongId<struct CounterTag, uint32_t>;

}  // namespace godwit

template <typename Tag, typename Rep>
struct std::hash<godwit::StrongId<Tag, Rep>> {
  size_t operator()(const godwit::StrongId<Tag, Rep>& id) const noexcept {
    return std::hash<Rep>{}(id.value);
  }
};
