// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/arrival_hold.h"

#include <algorithm>
#include <utility>

namespace godwit::migration {

namespace {

constexpr uint64_t kLookMs = 5;
constexpr uint32_t kQuietLooks = 10;  // without older frames
constexpr uint32_t kMostLooks = 50;

}  // namespace

ArrivalHold::ArrivalHold(MoveContext& context, const Document& document,
                         const RedirectReceiver& receiver, Handlers handlers)
    : context_(context),
      document_(document),
      receiver_(receiver),
      handlers_(std::move(handlers)),
      hold_timer_(context.network.timer()),
      fence_timer_(context.network.timer()) {}

// A quiet session does not show that nothing more will come: what this host's own guests sent may
// be in a slow fabric for as long.
void ArrivalHold::begin() {
  hold_timer_->set(kLookMs, [this] {
    const uint32_t most = handlers_.connected() ? kMostLooks : kQuietLooks;
    if (++looks_ < most && room_to_wait()) return begin();
    handlers_.on_timeout();
  });
}

void ArrivalHold::release() {
  hold_timer_->cancel();
  fenced_ = handlers_.connected() && receiver_.barrier() < 2;
  looks_ = quiet_looks_ = 0;
  handlers_.let_through();
  watch_fence();
}

void ArrivalHold::watch_fence() {
  if (!fenced_ || handlers_.over()) return;
  fence_timer_->set(kLookMs, [this] {
    const bool waits = waiting() != 0;
    looks_ = waits ? looks_ + 1 : 0;
    quiet_looks_ = older_coming() || !waits ? 0 : quiet_looks_ + 1;
    if (quiet_looks_ >= kQuietLooks || looks_ >= kMostLooks || !room_to_wait()) return lift();
    watch_fence();
  });
}

void ArrivalHold::lift() {
  if (!std::exchange(fenced_, false) || handlers_.over()) return;
  fence_timer_->cancel();
  handlers_.let_through();
}

void ArrivalHold::stop() {
  hold_timer_->cancel();
  fence_timer_->cancel();
}

bool ArrivalHold::room_to_wait() const { return waiting() < context_.options.ahead.packets / 2; }

// Returns the number of frames in the fullest park of the VM's endpoints.
uint64_t ArrivalHold::waiting() const {
  uint64_t most = 0;
  for (const dataplane::Profile& profile : document_.profiles) {
    const dataplane::EndpointRecord* endpoint = context_.store.find(profile.name);
    if (endpoint != nullptr) most = std::max(most, context_.gate.parked(endpoint->id));
  }
  return most;
}

// Returns whether the session has brought something since the last look.
bool ArrivalHold::older_coming() {
  const uint64_t redirected = receiver_.redirected();
  return std::exchange(redirected_before_, redirected) != redirected || !receiver_.empty() ||
         context_.gate.injecting();
}

}  // namespace godwit::migration
