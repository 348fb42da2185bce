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
    // Called when every frame before a barrier is past the worker. barrier() returns its number.
    std::function<void()> on_barrier;
    // Called after an attempt to inject queued frames, which may have left some in the queue.
    std::function<void()> on_pumped;
  };

  RedirectReceiver(MoveContext& context, std::string vm, Handlers handlers);

  // Takes a batch of frames. Fails at a frame that is not this VM's or cannot be read; then the
  // rest of the batch is not taken.
  Result<void> take(const wire::Redirect& redirect);
  // Queues a barrier behind the frames that have come.
  void take_barrier(uint32_t number);
  // Notes the stream that a handover names. An open receiver expects frame zero of another stream.
  void set_stream(uint64_t stream);

  // Delivers the frames that wait, and from now on those that come. Called when the destination is
  // active.
  void open();
  // Opens the receiver after a restart, when no frame waits.
  void reopen() { open_ = true; }
  // Drops the frames that wait for the worker, as `redirect_closed`. Closes the receiver.
  void close();
  // Drops the frames that were sent ahead, without counting them. Does nothing if the receiver is
  // open.
  void forget_ahead();
  void stop() { timer_->cancel(); }

  // Returns the number of the frame that is due, which is how many of the stream's frames have
  // come.
  [[nodiscard]] uint64_t next_number() const { return next_number_; }
  // Returns the number of the last barrier, or zero before the first.
  [[nodiscard]] uint32_t barrier() const { return barrier_; }
  // Returns how many frames were delivered or wait for the worker's ring.
  [[nodiscard]] uint64_t redirected() const { return redirected_; }
  [[nodiscard]] bool empty() const { return in_.empty(); }
  // Returns whether so many frames wait that the caller must not read the session.
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
