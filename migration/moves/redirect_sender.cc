// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/redirect_sender.h"

#include <algorithm>
#include <utility>

namespace godwit::migration {

using dataplane::EndpointRecord;

namespace {

constexpr uint64_t kLookMs = 1;
constexpr size_t kMaxQueuedBytes = 4u << 20;

}  // namespace

RedirectSender::RedirectSender(MoveContext& context, PeerLink& link, Handlers handlers)
    : context_(context),
      link_(link),
      handlers_(std::move(handlers)),
      stream_(context.network.random()),
      barrier_timer_(context.network.timer()) {}

void RedirectSender::redirect(const dataplane::Frame& frame) {
  if (through()) return send_frame(frame);
  if (handlers_.mode() == Mode::kClosed)
    return context_.gate.drop(frame, dataplane::Drop::k_redirect_closed);
  kept_.push_back(frame);
  kept_bytes_ += frame.bytes.size();
  if (handlers_.mode() != Mode::kAhead) return;
  if (sent_ahead_ + 1 == kept_.size()) {
    send_frame(frame);
    ++sent_ahead_;
  }
  if (full()) handlers_.full();
}

void RedirectSender::send_frame(const dataplane::Frame& frame) {
  const EndpointRecord* endpoint = context_.store.endpoint(frame.endpoint);
  if (endpoint == nullptr || !link_.connected() || (held_by_peer_ == kTakesNoFrames && through())) {
    if (through()) context_.gate.drop(frame, dataplane::Drop::k_redirect_closed);
    return;  // before that, a copy is kept
  }
  if (batch_.redirect().frames_size() == 0) batch_.mutable_redirect()->set_first(next_number_);
  ++next_number_;
  to_wire(frame, endpoint->profile.name, *batch_.mutable_redirect()->add_frames());
  batch_bytes_ += frame.bytes.size();
  if (batch_bytes_ >= kMaxRedirectBytes ||
      static_cast<size_t>(batch_.redirect().frames_size()) >= kMaxRedirectFrames)
    flush();
}

void RedirectSender::flush() {
  if (batch_.redirect().frames_size() == 0) return;
  if (link_.connected()) {
    wire::Envelope message = handlers_.envelope();
    *message.mutable_redirect() = std::move(*batch_.mutable_redirect());
    link_.send(message);
  } else if (through()) {
    for (const wire::Frame& lost : batch_.redirect().frames()) {
      if (const auto frame = from_wire(lost))
        context_.gate.drop(*frame, dataplane::Drop::k_redirect_closed);
    }
  }
  batch_.Clear();
  batch_bytes_ = 0;
}

bool RedirectSender::can_take() const {
  return !link_.connected() || link_.session()->queued_bytes() < kMaxQueuedBytes;
}

bool RedirectSender::full() const {
  const dataplane::ParkLimits& most = context_.options.ahead;
  return kept_.size() >= most.packets || kept_bytes_ >= most.bytes;
}

void RedirectSender::send_ahead() {
  sent_ahead_ = 0;
  send_kept(0);
}

void RedirectSender::send_kept(size_t from) {
  flush();
  next_number_ = from;
  for (size_t i = from; i < kept_.size(); ++i) send_frame(kept_[i]);
  sent_ahead_ = kept_.size();
  flush();
}

// Some of the frames that the destination has not got may still be on their way to it. It tells by
// their numbers which frames it has twice.
uint64_t RedirectSender::send_rest() {
  send_kept(held_by_peer_ == kTakesNoFrames
                ? 0
                : static_cast<size_t>(std::min<uint64_t>(held_by_peer_, sent_ahead_)));
  const uint64_t count = kept_.size();
  kept_.clear();
  kept_bytes_ = 0;
  return count;
}

bool RedirectSender::give_back() {
  while (!kept_.empty() && context_.gate.inject(kept_.front())) {
    kept_bytes_ -= kept_.front().bytes.size();
    kept_.pop_front();
  }
  return kept_.empty();
}

// The first barrier follows once nothing waits in the workers' parks and in the ring behind them.
// It also waits for the announcement, which takes the path that the destination's own senders used
// before: what they sent to the source has then arrived as well. At the last barrier the source
// holds the VM's frames: what is parked now waits for the uplink, so only the ring matters.
void RedirectSender::send_barrier_when_drained(uint32_t number, uint32_t looks) {
  if (!through() || !link_.connected() || barrier_ >= number) return;
  context_.pump();
  const bool last = number >= 2;
  if (!last && !handlers_.drained() && looks < handlers_.most_looks()) {
    barrier_timer_->set(kLookMs,
                        [this, number, looks] { send_barrier_when_drained(number, looks + 1); });
    return;
  }
  context_.pump();
  flush();
  barrier_ = number;
  wire::Envelope message = handlers_.envelope();
  message.mutable_barrier()->set_number(number);
  link_.send(message);
}

}  // namespace godwit::migration
