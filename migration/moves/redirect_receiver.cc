// SPDX-License-Identifier: Apache-2.0
#include "migration/moves/redirect_receiver.h"

#include <utility>

namespace godwit::migration {

using dataplane::EndpointRecord;

namespace {

constexpr uint64_t kPumpAgainMs = 1;
constexpr size_t kMaxWaitingIn = 4096;  // redirected frames that wait for the worker's ring

}  // namespace

RedirectReceiver::RedirectReceiver(MoveContext& context, std::string vm, Handlers handlers)
    : context_(context),
      vm_(std::move(vm)),
      handlers_(std::move(handlers)),
      timer_(context.network.timer()) {}

Result<void> RedirectReceiver::take(const wire::Redirect& redirect) {
  const dataplane::ParkLimits& most = context_.options.ahead;
  uint64_t number = redirect.first();
  for (const wire::Frame& in : redirect.frames()) {
    auto frame = from_wire(in);
    if (!frame) return fail(frame.error());
    const EndpointRecord* endpoint = context_.store.find(in.endpoint());
    if (endpoint == nullptr || dataplane::vm_of(in.endpoint()) != vm_)
      return fail("peer: a frame for another VM");
    if (number++ != next_number_) continue;
    frame->endpoint = endpoint->id;
    if (open_) {
      in_.emplace_back(std::move(*frame));
      ++redirected_;
    } else if (ahead_.size() < most.packets && ahead_bytes_ + frame->bytes.size() <= most.bytes) {
      ahead_bytes_ += frame->bytes.size();
      ahead_.push_back(std::move(*frame));
    } else {
      continue;
    }
    ++next_number_;
  }
  if (open_) pump();
  return {};
}

void RedirectReceiver::take_barrier(uint32_t number) {
  in_.emplace_back(number);
  pump();
}

void RedirectReceiver::set_stream(uint64_t stream) {
  if (open_ && stream != stream_) next_number_ = 0;
  stream_ = stream;
}

void RedirectReceiver::open() {
  open_ = true;
  redirected_ += ahead_.size();
  for (dataplane::Frame& frame : ahead_) in_.emplace_back(std::move(frame));
  ahead_.clear();
  pump();
}

void RedirectReceiver::close() {
  for (const auto& waiting : in_) {
    if (const auto* frame = std::get_if<dataplane::Frame>(&waiting))
      context_.gate.drop(*frame, dataplane::Drop::k_redirect_closed);
  }
  in_.clear();
  open_ = false;
}

void RedirectReceiver::forget_ahead() {
  if (open_) return;
  ahead_.clear();
  ahead_bytes_ = 0;
  next_number_ = 0;
}

bool RedirectReceiver::crowded() const { return in_.size() > kMaxWaitingIn; }

void RedirectReceiver::pump() {
  const auto again = [this] { timer_->set(kPumpAgainMs, [this] { pump(); }); };
  while (!in_.empty()) {
    if (const auto* frame = std::get_if<dataplane::Frame>(&in_.front())) {
      if (!context_.gate.inject(*frame)) {
        again();
        break;
      }
      in_.pop_front();
    } else {
      if (context_.gate.injecting()) {
        again();
        break;
      }
      barrier_ = std::get<uint32_t>(in_.front());
      in_.pop_front();
      handlers_.on_barrier();
    }
  }
  handlers_.on_pumped();
}

}  // namespace godwit::migration
