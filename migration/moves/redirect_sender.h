// SPDX-License-Identifier: Apache-2.0
//
// The source's end of the redirect: sends the VM's frames, and the barriers behind them, to the
// destination. RedirectReceiver is the other end.
//
// From the handover on, frames go *ahead* to the destination, so that they are there when the VM
// is. Nothing is decided yet, so a copy of each frame stays here. If the VM goes on at the source,
// the copies go back to it. Once the destination is active, its answer says how many frames it has;
// the others follow.
//
// Frames are numbered from zero within a *stream*. A handover names the stream, and restarts it.
//
// A barrier says that every frame that came to the source before has been sent.
//
// Invariants: frames leave in the order in which the workers redirected them. No frame waits in the
// batch after flush(). The copies are bounded by MigrationOptions::ahead, up to the frames that the
// workers redirect before they see that the source parks again.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "dataplane/packet_gate.h"
#include "migration/link/codec.h"
#include "migration/link/network.h"
#include "migration/link/peer_link.h"
#include "migration/moves/move_context.h"

namespace godwit::migration {

class RedirectSender {
 public:
  enum class Mode : uint8_t {
    kKeep,     // before the handover: keeps frames here
    kAhead,    // after the handover: sends frames and keeps copies
    kThrough,  // the destination is active: sends frames, or drops them if there is no session
    kClosed,   // the destination was told that no frame follows: drops frames
  };
  struct Handlers {
    std::function<Mode()> mode;                // returns what to do with frames now
    std::function<wire::Envelope()> envelope;  // returns a message of the move, without a body
    std::function<void()> full;                // a frame came, and no more may be sent ahead
    // Returns whether nothing waits any more that the first barrier has to follow.
    std::function<bool()> drained;
    // Returns how many times drained() is asked before the first barrier is sent all the same.
    std::function<uint32_t()> most_looks;
  };

  RedirectSender(MoveContext& context, PeerLink& link, Handlers handlers);

  // Sends or keeps one redirected frame, by the mode.
  void redirect(const dataplane::Frame& frame);
  // Sends the batch. Drops it if there is no session and the destination is active.
  void flush();
  // Returns whether the session has room.
  [[nodiscard]] bool can_take() const;
  // Returns whether as much is kept as may be sent ahead.
  [[nodiscard]] bool full() const;
  [[nodiscard]] bool keeps_any() const { return !kept_.empty(); }

  // Returns the name of the stream, for the handover.
  [[nodiscard]] uint64_t stream() const { return stream_; }
  // Sends all kept frames, from number zero on: the receiver forgets them at each handover.
  void send_ahead();
  // Takes another stream for the next handover. The kept frames go back to the VM.
  void begin_stream() { stream_ = context_.network.random(); }
  // Notes how many frames the destination has, or kTakesNoFrames.
  void set_held_by_peer(uint64_t frames) { held_by_peer_ = frames; }
  // Sends the kept frames that the destination does not have, then discards all kept frames.
  // Returns how many were kept.
  uint64_t send_rest();
  // Injects the kept frames into the VM's port as long as the ring has room. Returns whether none
  // is left.
  bool give_back();

  // Sends barrier `number` behind everything before it: 1 behind the backlog, 2 behind the last
  // redirected frame.
  void send_barrier(uint32_t number) { send_barrier_when_drained(number, 0); }
  // Returns the number of the last barrier that was sent.
  [[nodiscard]] uint32_t barrier() const { return barrier_; }
  void stop() { barrier_timer_->cancel(); }

 private:
  [[nodiscard]] bool through() const { return handlers_.mode() == Mode::kThrough; }
  void send_frame(const dataplane::Frame& frame);
  void send_kept(size_t from);
  void send_barrier_when_drained(uint32_t number, uint32_t looks);

  MoveContext& context_;
  PeerLink& link_;
  const Handlers handlers_;
  std::deque<dataplane::Frame> kept_;
  size_t kept_bytes_ = 0;
  size_t sent_ahead_ = 0;  // of kept_, how many went out with the last handover
  uint64_t stream_;
  uint64_t next_number_ = 0;   // of the next frame in the stream
  uint64_t held_by_peer_ = 0;  // how many frames the destination has delivered
  wire::Envelope batch_;
  size_t batch_bytes_ = 0;
  uint32_t barrier_ = 0;
  std::unique_ptr<Timer> barrier_timer_;
};

}  // namespace godwit::migration
