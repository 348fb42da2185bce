// SPDX-License-Identifier: Apache-2.0
//
// The endpoints of a VM at the source of its move: where their frames go, and whether their rings
// run.
//
// park(nic) and restore(nic) change the location of one endpoint. Each other function that changes
// locations does so for all endpoints in one transaction, so a worker sees all changes or none.
//
// Thread safety: the control thread only.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/link/network.h"
#include "migration/moves/move_context.h"
#include "migration/policy/vm_rules.h"
#include "migration/policy/withdraw.h"

namespace godwit::migration {

class SourceEndpoints {
 public:
  struct Nic {
    EndpointId endpoint;
    PortId port;
    bool running = false;                // its rings run
    dataplane::Location old_location{};  // before the move
    bool old_active = false;
  };
  struct Handlers {
    // Injects the frames that the move keeps for the VM. Returns whether none is left.
    std::function<bool()> give_back;
    // Called at the end of a thaw that returned frames or stopped a redirect. Everything is then as
    // before the move, and no kept frame is left.
    std::function<void()> thawed;
  };

  SourceEndpoints(MoveContext& context, std::string vm, std::string move, Handlers handlers);

  // Notes the VM's endpoints as they are.
  void note();
  // Notes the VM's endpoints after a restart, when they are parked and were local before. Returns
  // an error if one has no port any more.
  Result<void> note_after_restart();

  [[nodiscard]] bool running() const { return std::ranges::any_of(nics_, &Nic::running); }
  [[nodiscard]] bool owns(EndpointId endpoint) const;
  // Returns nullptr if the port is not one of the VM's.
  [[nodiscard]] Nic* find(PortId port);
  // Returns whether nothing is parked for the VM.
  [[nodiscard]] bool drained() const;

  // Refuses rule changes with this reason, or accepts them again if it is empty.
  void guard(const std::string& reason);
  // Holds what comes for the VM in the workers' parks, and stops polling its ports.
  void park();
  // Holds what comes for one endpoint in the workers' parks. Its port is still polled.
  void park(const Nic& nic);
  // Gives one endpoint the location that it had before the move.
  void restore(const Nic& nic);
  // Redirects what comes for the VM, and what is parked, until stop_passing_on().
  void pass_on();
  // Parks again what comes from now on, if it is passed on.
  void stop_passing_on();
  // Notes that the destination is active. Frames passed on from now on are not kept.
  void end_passing_on() { passing_on_ = false; }
  // Restores the endpoints to what they were before the move. Kept frames go to the VM first, then
  // parked frames, then new ones. Handlers::thawed is called when the last kept frame is delivered.
  // Without kept frames and without passing on, the thaw ends at once and Handlers::thawed is not
  // called. `owner` holds this object.
  void thaw(bool frames_kept, std::weak_ptr<void> owner);
  // Returns whether frames are on their way back to the VM.
  [[nodiscard]] bool thawing() const { return thawing_; }
  // Takes the VM's rules out and redirects what comes for it, in one transaction. The ports stay.
  Result<TakenOut> rewrite_out();
  // Sends what comes for the VM to the uplink. While `late`, frames that still come in by an uplink
  // are redirected.
  void release(bool late);
  // Unbinds and removes the VM's ports.
  void remove_ports();
  void stop() { thaw_timer_->cancel(); }

 private:
  void give_back();
  void end_thaw();

  MoveContext& context_;
  const std::string vm_, move_;
  const Handlers handlers_;
  std::vector<Nic> nics_;
  bool passing_on_ = false;  // the location is the redirect, and the destination is not active
  bool thawing_ = false;
  std::unique_ptr<Timer> thaw_timer_;
};

}  // namespace godwit::migration
