// SPDX-License-Identifier: Apache-2.0
//
// A move away from this host: carries out what the source's machine decides. See source.h for the
// states.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "migration/moves/announce.h"
#include "migration/moves/move_context.h"
#include "migration/moves/source_machine.h"
#include "migration/policy/rewriting.h"

namespace godwit::migration {

class SourceMove : public std::enable_shared_from_this<SourceMove> {
 public:
  // `status` says which VM goes where: vm, peer, id and, if it is part of one, evacuation.
  SourceMove(MoveContext& context, MoveStatus status, std::string address);

  // Whether all of the VM is local and nothing else speaks against a move from here.
  static Result<void> check(const MoveContext& context, const std::string& vm);
  Result<void> begin();  // exports and connects; errors leave nothing behind
  // After a restart: whether it was handed over is not known. Errors: it cannot be taken up.
  Result<void> recover(const MoveRecord& record);
  // The destination, which had lost us, asks by a session of its own. False: the move does not want
  // it.
  bool attach(std::shared_ptr<PeerSession> session);
  Result<void> cancel();
  void on_port_event(const dataplane::PortEvent& event);
  // Came in by an uplink: the peer's announcement, or its answer to a probe.
  void on_fabric_message(const FabricMessage& message);
  void on_rule_change(const dataplane::RuleChange& change);
  // A redirected frame of one of the VM's endpoints.
  void redirect(const dataplane::Frame& frame);
  void flush_redirect();
  [[nodiscard]] bool can_take() const;  // there is room towards the peer
  [[nodiscard]] bool owns(EndpointId endpoint) const;
  // An uplink's rule that leads to the VM alone: it travels with it.
  [[nodiscard]] bool leads_here(const dataplane::RuleRecord& rule) const;
  void stop();

  [[nodiscard]] const std::string& vm() const { return status_.vm; }
  [[nodiscard]] const std::string& id() const { return status_.id; }
  [[nodiscard]] const std::string& peer() const { return status_.peer; }
  [[nodiscard]] bool settled() const { return machine_.over(); }  // how it ended is known
  // Also of frames: none is left that is to go back to the VM.
  [[nodiscard]] bool over() const { return machine_.over() && !thawing_; }
  // The peer has not answered the offer yet.
  [[nodiscard]] bool preparing() const { return machine_.state() < SourceState::kPrepared; }
  [[nodiscard]] MoveStatus status() const;

 private:
  struct Nic {
    EndpointId endpoint;
    PortId port;
    bool ran = false;
    bool running = false;
    dataplane::Location old_location;
    bool old_active = false;
  };

  void step(SourceEvent event, const std::string& why = {});
  void act(SourceAction action);
  void connect();
  void after_step(SourceState before);
  [[nodiscard]] PeerSession::OnClosed when_closed(const PeerSession* session);
  void on_message(wire::Envelope& message);
  void on_active(const wire::Envelope& message);
  [[nodiscard]] bool running() const { return std::ranges::any_of(nics_, &Nic::running); }
  [[nodiscard]] MoveRecord record() const;
  void mint();
  void settle(bool done);
  [[nodiscard]] wire::Envelope envelope() const;
  void send_offer();
  void send_handover();
  void send_barrier_when_drained(uint32_t number, uint32_t looks);
  void park();
  [[nodiscard]] bool kept_all() const;
  void pass_on();
  void stopped();
  void thaw();
  void give_back();
  void end_thaw();
  void rewrite_out();
  void send_frame(const dataplane::Frame& frame);
  void send_kept(size_t from);
  void hold();
  void begin_probing();
  void probe_fabric(size_t round);
  void release(bool late);
  void close_window();
  void guard(const std::string& reason);

  MoveContext& context_;
  SourceMachine machine_;
  std::string address_;
  std::shared_ptr<PeerSession> session_;
  uint64_t session_since_ns_ = 0;
  std::vector<Nic> nics_;
  Document document_;
  Epoch new_epoch_;
  uint64_t nonce_ = 0;
  MoveStatus status_;
  dataplane::WindowTotals totals_before_,
      totals_after_;  // the switch's, when the move began and when it was over
  std::string why_;
  wire::Envelope batch_;
  size_t batch_bytes_ = 0;
  // What was sent ahead of the peer's `active`, in order, since the VM may yet go on here. Sent
  // with the last handover: the first sent_ahead_ of them.
  std::deque<dataplane::Frame> kept_;
  size_t kept_bytes_ = 0;
  size_t sent_ahead_ = 0;
  uint64_t stream_ = 0;        // names the numbering below
  uint64_t next_number_ = 0;   // of the next redirected frame: kept_'s places, and on from there
  uint64_t held_by_peer_ = 0;  // how many of them it delivered, as its `active` says
  bool passing_on_ = false;    // the location is the redirect, and the peer not active
  bool thawing_ = false;       // kept_ is on its way back to the VM, ahead of what is parked
  std::unique_ptr<Timer> step_timer_, window_timer_, drain_timer_, probe_timer_, reconnect_timer_;
  uint32_t barrier_ = 0;
  std::set<FabricAddress>
      heard_;               // addresses of the VM whose announcement has come in on our uplink
  bool announced_ = false;  // all of them
  std::set<FabricAddress> unproven_;  // then: addresses of the VM whose probe has not come back
  std::string uplinks_digest_;        // of document_
  bool rules_changed_ = false;        // since document_ was made
  bool stopping_ = false;
  bool recorded_ = false;           // the journal knows the move
  std::vector<OwnedRule> removed_;  // uplink rules that went with the VM
  uint64_t steps_ = 0;
};

}  // namespace godwit::migration
