// SPDX-License-Identifier: Apache-2.0
//
// The destination's end of the redirect: takes frames and barriers from the source in order, and
// injects the frames into the VM's port. RedirectSender is the other end.
//
// Before the destination is active the receiver is closed: frames that the source sends ahead wait,
// within MigrationOptions::ahead. open() delivers them; forget_ahead() drops them, since the source
// sends them again with its next handover or gives them to the VM itself.
//
// Frames are numbered within a stream. Only the frame that is due is taken: copies of earlier ones
// are dropped here.
//
// Invariant: a barrier is reported when every frame before it is past the worker, so nothing that
// is let through at the barrier can overtake such a frame.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "base/result.h"
#include "dataplane/packet_gate.h"
#include "migration/link/codec.h"
#include "migration/link/network.h"
#include "migration/moves/move_context.h"

namespace godwit::migration {

class RedirectReceiver {
 public:
  struct Handlers {
    std::function<void()> on_barrier;  // barrier() has come
    std::function<void()> on_pumped;   // the queue has got shorter, or waits for the worker's ring
  };

  RedirectReceiver(MoveContext& context, std::string vm, Handlers handlers);

  // Takes a batch of frames. Fails at a frame that is not this VM's or cannot be read; then the
  // rest of the batch is not taken.
  Result<void> take(const wire::Redirect& redirect);
  void take_barrier(uint32_t number);
  // Notes the stream that a handover names. An open receiver expects frame zero of another stream.
  void set_stream(uint64_t stream);

  // The destination is active: delivers what waits, and everything that comes.
  void open();
  // The same after a restart, when nothing waits.
  void reopen() { open_ = true; }
  // Drops what waits.
  void close();
  // Forgets what was sent ahead. Does nothing if the receiver is open.
  void forget_ahead();
  void stop() { timer_->cancel(); }

  // The number of the frame that is due: how many of the stream's frames are here.
  [[nodiscard]] uint64_t next_number() const { return next_number_; }
  // The number of the last barrier, zero before the first.
  [[nodiscard]] uint32_t barrier() const { return barrier_; }
  // How many frames were delivered or wait for the worker's ring.
  [[nodiscard]] uint64_t redirected() const { return redirected_; }
  [[nodiscard]] bool empty() const { return in_.empty(); }
  // Returns whether so much waits that the session is not to be read.
  [[nodiscard]] bool crowded() const;

 private:
  void pump();

  MoveContext& context_;
  const std::string vm_;
  const Handlers handlers_;
  bool open_ = false;
  std::deque<dataplane::Frame> ahead_;
  size_t ahead_bytes_ = 0;
  uint64_t stream_ = 0;
  uint64_t next_number_ = 0;
  std::deque<std::variant<dataplane::Frame, uint32_t>> in_;  // frames and numbers of barriers
  uint32_t barrier_ = 0;
  uint64_t redirected_ = 0;
  std::unique_ptr<Timer> timer_;
};

}  // namespace godwit::migration
