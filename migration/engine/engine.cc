// SPDX-License-Identifier: Apache-2.0
#include "migration/engine/engine.h"

#include <algorithm>
#include <utility>

#include "migration/engine/by_hand.h"
#include "migration/engine/departures.h"
#include "migration/engine/evacuations.h"
#include "migration/engine/incoming_links.h"
#include "migration/engine/move_queue.h"
#include "migration/engine/move_registry.h"
#include "migration/engine/move_starter.h"
#include "migration/engine/peer_directory.h"
#include "migration/engine/peer_pings.h"
#include "migration/engine/redirect_pump.h"
#include "migration/journal/memory_journal.h"
#include "migration/moves/fabric/announce.h"

namespace godwit::migration {

namespace {

constexpr uint64_t kFlushMs = 1000;  // between attempts to write to a disk that was full

}  // namespace

// The parts of the engine and the calls that involve several of them.
struct Engine::Impl {
  MemoryJournal no_journal;  // stands in where the switch has none
  MoveContext context;
  std::unique_ptr<Timer> flush_timer;
  MoveQueue queue;
  Evacuations evacuations{context.clock};
  MoveRegistry moves{context, queue, evacuations};
  PeerDirectory peers{context};
  MoveStarter starter{context, peers, moves, queue, evacuations};
  PeerPings pings{context, peers};
  IncomingLinks links{context, peers, moves, starter, [this] { sweep(); }};
  ByHand by_hand{context, moves};
  RedirectPump redirect{context, moves};
  Departures departures{context, moves};
  bool sweep_waits = false;
  std::shared_ptr<int> alive = std::make_shared<int>(0);  // watched by callbacks that outlive this

  Impl(Network& network, MigrationOptions options, dataplane::PolicyStore& store,
       dataplane::Ports& ports, dataplane::PacketGate& gate, const Clock& clock, MoveLog log,
       Journal* journal, MoveTables tables);
  ~Impl();

  // Retries a journal write until it succeeds.
  void flush_later();
  // Puts ended moves away and begins queued ones. A move's own step must not call this; it calls
  // sweep_later().
  void sweep();
  void sweep_later();
};

Engine::Impl::Impl(Network& network, MigrationOptions options, dataplane::PolicyStore& store,
                   dataplane::Ports& ports, dataplane::PacketGate& gate, const Clock& clock,
                   MoveLog log, Journal* journal, MoveTables tables)
    : context{network,
              std::move(options),
              store,
              ports,
              gate,
              clock,
              std::move(log),
              journal == nullptr ? no_journal : *journal,
              tables,
              {},
              1,
              false,
              {},
              {},
              {},
              {}},
      flush_timer(network.timer()) {
  context.epochs = context.journal.epochs();
  context.journal_waits = [this](const std::string& why) {
    context.log("journal: cannot be written; a restart would have to ask the peers again: " + why);
    flush_later();
  };
  context.pump = [this] { redirect.run(); };
  context.changed = [this] { sweep_later(); };
  context.store.on_rule_change([this](const dataplane::RuleChange& change) {
    for (const auto& move : moves.outgoing()) move->on_rule_change(change);
  });
}

Engine::Impl::~Impl() { context.store.on_rule_change(nullptr); }

void Engine::Impl::flush_later() {
  flush_timer->set(kFlushMs, [this] {
    if (context.journal.flush()) return context.log("journal: written again");
    flush_later();
  });
}

void Engine::Impl::sweep() {
  moves.retire();
  starter.begin_queued();
}

void Engine::Impl::sweep_later() {
  if (std::exchange(sweep_waits, true)) return;
  context.network.post([this, watch = std::weak_ptr<int>(alive)] {
    if (watch.expired()) return;
    sweep_waits = false;
    sweep();
  });
}

Engine::Engine(Network& network, MigrationOptions options, dataplane::PolicyStore& store,
               dataplane::Ports& ports, dataplane::PacketGate& gate, const Clock& clock,
               MoveLog log, Journal* journal, MoveTables tables)
    : impl_(std::make_unique<Impl>(network, std::move(options), store, ports, gate, clock,
                                   std::move(log), journal, tables)) {}

bool holds_vm(const MoveRecord& record) {
  return record.role != MoveRole::kSource || SourceMove::may_be_handed_over(record);
}

Engine::~Engine() { stop(); }

void Engine::watch(Watcher watcher) { impl_->context.watcher = std::move(watcher); }

void Engine::reload(const MigrationOptions& options) {
  MigrationOptions& own = impl_->context.options;
  own.peers = options.peers;
  own.allow_in = options.allow_in;
  own.allow_out = options.allow_out;
  own.allow_pull = options.allow_pull;
  own.prepare_timeout_ms = options.prepare_timeout_ms;
  own.window_timeout_ms = options.window_timeout_ms;
  own.max_preparing = options.max_preparing;
  own.max_incoming = options.max_incoming;
  impl_->sweep();
}

void Engine::recover() {
  auto moves = impl_->context.journal.moves();
  if (!moves)
    return impl_->context.log("journal: the moves cannot be read: " + moves.error().message);
  for (const MoveRecord& move : *moves) impl_->moves.recover(move);
  impl_->sweep();
}

Result<void> Engine::listen() { return impl_->links.listen(); }

void Engine::stop() {
  impl_->alive.reset();
  impl_->links.stop();
  impl_->moves.stop();
  impl_->pings.stop();
  impl_->flush_timer->cancel();
  (void)impl_->context.journal.flush();
  impl_->queue.clear();
  impl_->moves.clear();
}

Result<Document> Engine::export_vm(const std::string& vm) { return impl_->by_hand.export_vm(vm); }

Result<RewriteReport> Engine::rewrite_vm(const std::string& vm) {
  return impl_->by_hand.rewrite_vm(vm);
}

Result<ImportReport> Engine::import_vm(const Document& document,
                                       const std::map<std::string, ImportBinding>& bindings) {
  return impl_->by_hand.import_vm(document, bindings);
}

Result<std::string> Engine::start(const std::string& vm, const std::string& peer) {
  impl_->sweep();
  return impl_->starter.start(vm, peer);
}

Result<EvacuationReport> Engine::start_all(const std::string& peer) {
  impl_->sweep();
  return impl_->starter.start_all(peer);
}

Result<std::string> Engine::pull(const std::string& vm, const std::string& from) {
  impl_->sweep();
  return impl_->starter.pull(vm, from);
}

Result<void> Engine::cancel(const std::string& vm) {
  if (impl_->moves.cancel_unstarted(vm)) return {};
  auto result = impl_->moves.cancel(vm);
  impl_->sweep();
  return result;
}

std::vector<MoveStatus> Engine::status(const std::string& vm) const {
  std::vector<MoveStatus> all = impl_->moves.statuses();
  if (!vm.empty()) std::erase_if(all, [&](const MoveStatus& status) { return status.vm != vm; });
  return all;
}

Result<MoveStatus> Engine::show(const std::string& id) const {
  std::vector<MoveStatus> all = impl_->moves.statuses();
  std::erase_if(all,
                [&](const MoveStatus& status) { return id.empty() || !status.id.starts_with(id); });
  if (all.empty()) return fail(Error{"no such move", 0, 0, id, "an id of `migrate status`"});
  if (std::ranges::any_of(all,
                          [&](const MoveStatus& status) { return status.id != all.front().id; })) {
    return fail(Error{std::to_string(all.size()) + " moves have an id with this prefix", 0, 0, id,
                      "a longer prefix"});
  }
  return all.back();
}

std::vector<EvacuationStatus> Engine::evacuations() const { return impl_->moves.evacuations(); }

uint64_t Engine::now_ns() const { return impl_->context.clock.now_ns(); }

std::vector<PeerStatus> Engine::peers() const { return impl_->peers.statuses(status()); }

Result<void> Engine::ping(const std::string& peer, uint64_t count, PeerPing::Done done) {
  return impl_->pings.begin(peer, count, std::move(done));
}

void Engine::on_port_event(const dataplane::PortEvent& event) {
  // Copies: a move's step may add moves.
  const auto outgoing = impl_->moves.outgoing();
  const auto incoming = impl_->moves.incoming();
  for (const auto& move : outgoing) move->on_port_event(event);
  for (const auto& move : incoming) move->on_port_event(event);
  impl_->departures.on_port_event(event);
  impl_->sweep();
}

void Engine::on_gate_ready() {
  std::vector<dataplane::Frame> announcements_seen;
  impl_->context.gate.take_announcements(announcements_seen);
  for (const dataplane::Frame& frame : announcements_seen) {
    const auto message = read_fabric_message(frame.bytes);
    if (!message) continue;
    const auto outgoing = impl_->moves.outgoing();
    for (const auto& move : outgoing) move->on_fabric_message(*message);
    for (const auto& move : impl_->moves.incoming()) move->on_fabric_message(*message);
  }
  impl_->redirect.run();
  impl_->sweep();
}

bool Engine::moving(const std::string& vm) const { return impl_->moves.moving(vm); }

}  // namespace godwit::migration
