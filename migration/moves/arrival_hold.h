// SPDX-License-Identifier: Apache-2.0
//
// Keeps frames in order at the destination, where older frames come redirected from the source
// while newer ones come directly.
//
// At first, the *hold*: everything that comes directly waits in the workers' parks until the first
// barrier, behind the backlog, has come. The hold ends by itself after a bounded number of looks.
//
// Then, the *fence*: what the fabric brings to the VM alone waits until the last barrier. The
// fabric may learn the new place only after direct arrivals flow; frames that it brought to the
// source before are then still on their way. Where no proof comes, the fence ends like the hold.
//
// A look is taken every kLookMs. The session is read between two looks, so a thread that did not
// run for a while does not count that time as waiting.
//
// To lose frames is worse than to have them out of order: hold and fence both end when the VM's
// parks are half full.
//
// Thread safety: the control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "migration/link/network.h"
#include "migration/moves/move_context.h"
#include "migration/moves/redirect_receiver.h"
#include "migration/policy/document.h"

namespace godwit::migration {

class ArrivalHold {
 public:
  struct Handlers {
    std::function<bool()> connected;   // returns whether there is a session with the source
    std::function<bool()> over;        // returns whether the move is over
    std::function<void()> on_timeout;  // called when the hold has lasted long enough
    // Gives the VM's endpoints the location that lets direct arrivals through, with fenced().
    std::function<void()> let_through;
  };

  // `document` names the VM's endpoints. It and `receiver` outlive this object.
  ArrivalHold(MoveContext& context, const Document& document, const RedirectReceiver& receiver,
              Handlers handlers);

  // Begins to count the looks of the hold. The move has parked what comes directly.
  void begin();
  // Stops counting looks. The hold then ends by release() only.
  void cancel() { hold_timer_->cancel(); }
  // Ends the hold. Direct arrivals flow, behind the fence if the last barrier is still to come.
  void release();
  // Ends the fence. Does nothing if there is none.
  void lift();
  // Ends the fence without a change of locations, because the close of the window sets the last
  // one.
  void forget_fence() { fenced_ = false; }
  [[nodiscard]] bool fenced() const { return fenced_; }
  void stop();

 private:
  void watch_fence();
  [[nodiscard]] bool room_to_wait() const;
  [[nodiscard]] uint64_t waiting() const;
  [[nodiscard]] bool older_coming();

  MoveContext& context_;
  const Document& document_;
  const RedirectReceiver& receiver_;
  const Handlers handlers_;
  bool fenced_ = false;
  uint32_t looks_ = 0;              // looks at which something waited
  uint32_t quiet_looks_ = 0;        // the last of those, while the session brought nothing
  uint64_t redirected_before_ = 0;  // frames that the session had brought at the last look
  std::unique_ptr<Timer> hold_timer_, fence_timer_;
};

}  // namespace godwit::migration
