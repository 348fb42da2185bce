// SPDX-License-Identifier: Apache-2.0
//
// A move to this host: carries out what the destination's machine decides. See destination.h for the states.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <variant>

#include "migration/destination.h"
#include "migration/move_context.h"
#include "migration/rewrite.h"

namespace godwit::migration {

class DestinationMove : public std::enable_shared_from_this<DestinationMove> {
 public:
  DestinationMove(MoveContext& context, std::string vm, std::string peer, std::string id);

  // The session belongs to the move from here on; also when the source comes back.
  void attach(std::shared_ptr<PeerSession> session);
  void on_offer(const wire::Offer& offer);
  void on_message(wire::Envelope& message);
  // Of `session`; one that was replaced meanwhile does not count.
  void on_connection_lost(const std::string& reason, const PeerSession* session);
  void on_port_event(const dataplane::PortEvent& event);
  Result<void> cancel();
  void stop();

  [[nodiscard]] const std::string& vm() const { return status_.vm; }
  [[nodiscard]] const std::string& id() const { return status_.id; }
  [[nodiscard]] bool over() const { return machine_.over(); }
  [[nodiscard]] bool was_published() const { return published_; }
  [[nodiscard]] MoveStatus status() const;

 private:
  void step(DestinationEvent event, const std::string& why = {});
  void act(DestinationAction action);
  [[nodiscard]] wire::Envelope envelope() const;
  void on_handover(const wire::Handover& handover);
  void on_delta(const wire::Delta& delta);
  void on_redirect(const wire::Redirect& redirect);
  void publish();
  void enter();
  void announce(size_t round);
  void locate(dataplane::LocationKind kind, bool pairing);
  void forget_ahead();
  void pump_in();

  MoveContext& context_;
  DestinationMachine machine_;
  std::shared_ptr<PeerSession> session_;
  std::unique_ptr<StagedImport> staged_;
  Document document_;      // as offered, for the announcements
  Epoch offered_epoch_;
  Epoch new_epoch_;
  uint64_t nonce_ = 0;
  uint16_t window_ = 0;
  bool published_ = false;
  bool rings_run_ = false;
  MoveStatus status_;
  dataplane::WindowTotals totals_before_, totals_after_;  // the switch's, when the move began and when it was over
  std::string why_;
  // Sent ahead of our being active, in order: delivered when we are, forgotten when the VM goes on at the source.
  std::deque<dataplane::Frame> ahead_;
  size_t ahead_bytes_ = 0;
  uint64_t next_number_ = 0;    // of the redirected frame that is due
  // Redirected frames and barriers, in the order they came.
  std::deque<std::variant<dataplane::Frame, uint32_t>> in_;
  uint32_t barrier_ = 0;
  std::unique_ptr<Timer> hold_timer_, window_timer_, announce_timer_, pump_timer_;
};

}  // namespace godwit::migration
