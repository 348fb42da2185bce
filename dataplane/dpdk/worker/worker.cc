// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/worker/worker.h"

#include <rte_cycles.h>
#include <rte_prefetch.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "base/single_writer.h"
#include "dataplane/dpdk/env/mbuf_packet.h"
#include "dataplane/dpdk/env/monotonic.h"

namespace godwit::dataplane {
namespace {

constexpr uint32_t kKickLookUs = 50;
// Longest sleep while frames are held. What they wait for may not wake the worker.
constexpr uint32_t kHeldNapUs = 100;

uint64_t secret() {
  std::random_device chance;
  return uint64_t{chance()} << 32 | chance();
}

// Returns whether a burst's buffers are available. If so they are now in this thread's cache of the
// pool, where its next receive finds them.
bool can_receive(rte_mempool* pool) {
  std::array<rte_mbuf*, kBurst> buffers;
  if (rte_pktmbuf_alloc_bulk(pool, buffers.data(), kBurst) != 0) return false;
  rte_pktmbuf_free_bulk(buffers.data(), kBurst);
  return true;
}

}  // namespace

Worker::Worker(const Config& config, const WorkerDeps& deps)
    : config_(config),
      deps_(deps),
      pipeline_(std::make_unique<Pipeline>(config.id, *this, deps.fdb, deps.counters, deps.dedupe,
                                           drops_, config.park,
                                           FlowCacheOptions{.seed = secret()})),
      tx_(std::make_unique<TxStage>(config.id, deps.ports, deps.mail, deps.gate, drops_, *this,
                                    config.park)),
      plan_(new WorkerPlan),
      sleeper_(deps.mail.sleeper(config.id)),
      active_(sleeper_) {
  mail_.reserve(size_t{deps.mail.workers() + 1u} * Mailboxes::kBurstFrames);
}

Worker::~Worker() { delete plan_.load(); }

std::unique_ptr<WorkerPlan> Worker::set_plan(std::unique_ptr<WorkerPlan> plan) {
  stats_.rx_queues.store(static_cast<uint32_t>(plan->queues.size()), std::memory_order_relaxed);
  plan->serial = plan_.load(std::memory_order_relaxed)->serial + 1;
  std::unique_ptr<WorkerPlan> old(plan_.exchange(plan.release(), std::memory_order_acq_rel));
  sleeper_.attend();
  return old;
}

void Worker::run() {
  prctl(PR_SET_TIMERSLACK, 1UL);  // otherwise the kernel adds 50 us to each sleep
  stats_.running.store(true);
  deps_.grace.enter(config_.id);
  uint64_t before = rte_rdtsc();
  uint64_t last_busy = before;
  const uint64_t spin_cycles = uint64_t{config_.spin_us} * rte_get_tsc_hz() / 1'000'000;
  while (!stop_.load(std::memory_order_acquire)) {
    now_cycles_ = before;
    settle_ = config_.max_sleep_us != 0 && before - last_busy >= spin_cycles && before != last_busy;
    const bool busy = loop_once();
    const bool sleeps = !busy && settle_ && may_sleep();
    deps_.grace.quiescent(config_.id);
    const uint64_t now = rte_rdtsc();
    bump(stats_.loops);
    bump(busy ? stats_.busy_cycles : stats_.idle_cycles, now - before);
    before = now;
    if (busy) {
      last_busy = now;
      sleep_us_ = 0;
    } else if (sleeps) {
      sleep();
      before = rte_rdtsc();
    } else {
      rte_pause();
    }
  }
  deps_.grace.leave(config_.id);
  stats_.running.store(false);
}

// Announces a sleep and returns true if every queue that can be armed is, and nothing that wake()
// is called for has changed. Otherwise returns false without an announcement.
bool Worker::may_sleep() const {
  if (!active_.all_armed()) return false;
  sleeper_.begin();
  bool changed = sleeper_.attention() || stop_.load(std::memory_order_acquire);
  const ForwardingState* state = deps_.state.load();
  changed = changed || state == nullptr ||
            !active_.current(*state, *plan_.load(std::memory_order_acquire));
  for (uint16_t sender = 0; sender <= deps_.mail.workers() && !changed; ++sender) {
    changed = sender != config_.id.value && deps_.mail.waiting(sender, config_.id);
  }
  if (changed) sleeper_.cancel();
  return !changed;
}

uint32_t Worker::sleep_limit_us() const {
  uint32_t limit_us = config_.max_sleep_us;
  if (active_.any_always()) limit_us = std::min(limit_us, config_.poll_us);
  if (pipeline_->holding() || tx_->held() != 0) limit_us = std::min(limit_us, kHeldNapUs);
  return limit_us;
}

void Worker::sleep() {
  // While a queue has to be polled, naps begin short and grow.
  const uint32_t limit_us = sleep_limit_us();
  sleep_us_ = active_.any_always() ? std::min(std::max(sleep_us_ * 2, 1u), limit_us) : limit_us;
  Sleeper::Tags kicked;
  const uint64_t began = monotonic_ns();
  deps_.grace.leave(config_.id);
  const size_t count = sleeper_.sleep(sleep_us_, kicked);
  deps_.grace.enter(config_.id);
  active_.activate(*plan_.load(std::memory_order_acquire), count, kicked);
  looked_cycles_ = rte_rdtsc();
  bump(stats_.sleeps);
  bump(stats_.slept_ns, monotonic_ns() - began);
}

// Returns whether there was work to do.
bool Worker::loop_once() {
  // One state serves the whole loop. If held, parked and new frames used different locations, newer
  // frames could overtake older ones. The mail is collected before the state is loaded: a packet
  // that the control thread sends after publishing state N is forwarded by state N or a later one.
  collect_mail();
  const ForwardingState* state = deps_.state.load();
  if (state == nullptr) return false;
  WorkerPlan* plan = plan_.load(std::memory_order_acquire);
  const uint64_t now_ns = coarse_ns();
  tx_->begin(*state, now_ns);
  unsigned work = take_mail(*state);
  work += drain(*state);
  work += poll(*state, *plan, static_cast<uint32_t>(now_ns / 1'000'000'000u));
  drain(*state);  // new frames for a redirected endpoint need not wait for the next loop
  tx_->flush();
  bump(stats_.tx_packets, tx_->sent() - stats_.tx_packets.load(std::memory_order_relaxed));
  publish_held();
  deps_.gate.notify(config_.id);
  return work != 0;
}

// Returns the number of frames that left the park.
unsigned Worker::drain(const ForwardingState& state) {
  if (!pipeline_->holding()) return 0;
  const uint32_t held = pipeline_->parking().held();
  tx_->set_patient(true);
  pipeline_->drain(state);
  tx_->set_patient(false);
  return held - pipeline_->parking().held();
}

void Worker::collect_mail() {
  for (uint16_t sender = 0; sender <= deps_.mail.workers(); ++sender) {
    if (sender == config_.id.value || !deps_.mail.waiting(sender, config_.id)) continue;
    const size_t before = mail_.size();
    mail_.resize(before + Mailboxes::kBurstFrames);
    mail_.resize(before + deps_.mail.receive(sender, config_.id, mail_.data() + before,
                                             Mailboxes::kBurstFrames));
  }
}

unsigned Worker::take_mail(const ForwardingState& state) {
  const auto count = static_cast<unsigned>(mail_.size());
  if (count > 0) handle_mail(state, mail_.data(), count);
  mail_.clear();
  return count;
}

void Worker::handle_mail(const ForwardingState& state, rte_mbuf** mbufs, unsigned count) {
  std::array<Packet*, kBurst> run;
  for (unsigned i = 0; i < count;) {
    const MbufPriv& first = priv_of(mbufs[i]);
    if (first.kind == MailKind::kTransmit) {
      tx_->add_mail(packet_of(mbufs[i]), PortId(static_cast<uint16_t>(first.target)), first.serial);
      ++i;
      continue;
    }
    const MailKind kind = first.kind;
    const EndpointId endpoint(first.target);
    size_t length = 0;
    for (; i < count && length < run.size(); ++i, ++length) {
      const MbufPriv& next = priv_of(mbufs[i]);
      if (next.kind != kind || next.target != endpoint.value) break;
      run[length] = packet_of(mbufs[i]);
    }
    const std::span<Packet* const> packets(run.data(), length);
    if (kind == MailKind::kInject) {
      tx_->set_patient(true);
      pipeline_->inject(state, endpoint, packets);
      tx_->set_patient(false);
    } else {
      pipeline_->emit(state, endpoint, packets);
    }
  }
}

// Arms a silent queue. Returns true if it need not be polled any more. Sets `frames` to the number
// of frames that came by it meanwhile.
bool Worker::leave_alone(const ForwardingState& state, WorkerPlan::RxQueue& rx, uint32_t index,
                         uint32_t now_s, unsigned& frames) {
  if (!state.polled(rx.port->id)) return true;
  switch (rx.port->arm(rx.queue, sleeper_, index, rx.watched)) {
    case Port::Arm::kDormant: return true;
    case Port::Arm::kPolled: active_.mark_always(rx); return false;
    case Port::Arm::kArmed: break;
  }
  // Without buffers nothing can be received, and a guest whose ring is full never kicks again.
  if (can_receive(rx.pool)) {
    frames = poll_queue(state, rx, now_s);
    if (frames == 0) return true;
  }
  rx.port->disarm(rx.queue);
  return false;
}

unsigned Worker::poll(const ForwardingState& state, WorkerPlan& plan, uint32_t now_s) {
  busy_before_ = std::exchange(busy_, {});
  active_.follow(state, plan);
  if (active_.size() < plan.queues.size() &&
      now_cycles_ - looked_cycles_ > rte_get_tsc_hz() / 1'000'000 * kKickLookUs) {
    looked_cycles_ = now_cycles_;
    Sleeper::Tags kicked;
    active_.activate(plan, sleeper_.sleep(0, kicked), kicked);
  }
  unsigned total = 0;
  for (size_t k = 0; k < active_.size();) {
    const uint32_t index = active_[k];
    WorkerPlan::RxQueue& rx = plan.queues[index];
    if (in_debt(*rx.port)) {
      // Not polled, and so not silent: if it were armed now, nothing would report its waiting
      // frames.
      ++k;
      continue;
    }
    const unsigned count = poll_queue(state, rx, now_s);
    total += count;
    const bool silent = rx.silent >= PollSet::kSilentVisits || (settle_ && count == 0);
    unsigned late = 0;
    if (!silent || rx.always || !leave_alone(state, rx, index, now_s, late)) {
      total += late;
      ++k;
      continue;
    }
    active_.retire(k);
  }
  bump(stats_.rx_packets, total);
  return total;
}

// Returns whether the port is not to be polled: its flow cache misses have used up its share, and
// other ports have packets.
bool Worker::in_debt(Port& port) {
  const uint64_t share =
      port.kind == PortKind::kVhost ? MissBudget::kVmShare : MissBudget::kUplinkShare;
  return !port.cell(config_.id)
              .misses.may_poll(now_cycles_, share, busy_before_.other_than(port.id));
}

unsigned Worker::poll_queue(const ForwardingState& state, WorkerPlan::RxQueue& rx, uint32_t now_s) {
  Port& port = *rx.port;
  std::array<rte_mbuf*, kBurst> mbufs;
  PortCell& cell = port.cell(config_.id);
  // A port whose policy is not in place is not polled: its frames stay in the guest's ring.
  const uint16_t count =
      state.polled(port.id) ? port.receive(rx.queue, rx.pool, mbufs.data(), kBurst) : uint16_t{0};
  if (count == 0) {
    if (rx.silent < PollSet::kSilentVisits) ++rx.silent;
    return 0;
  }
  rx.silent = 0;
  busy_.note(port.id);
  std::array<Packet*, kBurst> packets;
  size_t whole = 0;
  uint64_t bytes = 0;
  for (uint16_t i = 0; i < count; ++i) {
    Packet* packet = packet_of(mbufs[i]);
    bytes += packet->len;
    if (mbufs[i]->nb_segs > 1) {
      drops_.count(port.id, Drop::k_too_big);
      rte_pktmbuf_free(mbufs[i]);
      continue;
    }
    rte_prefetch0(packet->data);
    packets[whole++] = packet;
  }
  bump(cell.rx_packets, count);
  bump(cell.rx_bytes, bytes);
  port.note_traffic();
  const uint64_t misses_before = pipeline_->miss_cycles();
  if (whole > 0) pipeline_->process(state, port.id, {packets.data(), whole}, now_s);
  cell.misses.spend(pipeline_->miss_cycles() - misses_before);
  return count;
}

void Worker::publish_held() {
  if (held_.empty() && !pipeline_->holding() && tx_->held() == 0) return;
  const std::vector<EndpointId>& parked = pipeline_->parking().endpoints();
  held_now_.assign(parked.begin(), parked.end());
  tx_->list_holds(held_now_);
  held_.publish(held_now_);
}

uint64_t Worker::parked(EndpointId endpoint) const {
  if (!held_.contains(endpoint)) return 0;
  return std::max<uint64_t>(1, uint64_t{pipeline_->parking().held()} + tx_->held());
}

WorkerInfo Worker::info() const {
  WorkerInfo out;
  out.id = config_.id;
  out.cpu = config_.cpu;
  out.numa_node = config_.node;
  out.running = stats_.running.load();
  out.rx_queues = stats_.rx_queues.load(std::memory_order_relaxed);
  out.loops = stats_.loops.load(std::memory_order_relaxed);
  out.rx_packets = stats_.rx_packets.load(std::memory_order_relaxed);
  out.tx_packets = stats_.tx_packets.load(std::memory_order_relaxed);
  out.busy_cycles = stats_.busy_cycles.load(std::memory_order_relaxed);
  out.idle_cycles = stats_.idle_cycles.load(std::memory_order_relaxed);
  out.sleeps = stats_.sleeps.load(std::memory_order_relaxed);
  out.slept_ns = stats_.slept_ns.load(std::memory_order_relaxed);
  out.cycles_per_second = rte_get_tsc_hz();
  out.held = pipeline_->parking().held() + tx_->held();
  return out;
}

Packet* Worker::clone(const Packet& packet) {
  Packet* copy = deps_.pools.copy_of(config_.node, packet.data, packet.len);
  if (copy == nullptr) return nullptr;
  copy->csum_start = packet.csum_start;
  copy->csum_offset = packet.csum_offset;
  copy->flags = packet.flags;
  copy->mark = packet.mark;
  copy->flow_hash = packet.flow_hash;
  return copy;
}

void Worker::free(std::span<Packet* const> packets) {
  std::array<rte_mbuf*, kBurst> mbufs;
  while (!packets.empty()) {
    const size_t count = std::min(packets.size(), mbufs.size());
    for (size_t i = 0; i < count; ++i) mbufs[i] = mbuf_of(*packets[i]);
    rte_pktmbuf_free_bulk(mbufs.data(), static_cast<unsigned>(count));
    packets = packets.subspan(count);
  }
}

void Worker::transmit(std::span<const Output> outputs) { tx_->add(outputs); }

bool Worker::redirect(EndpointId endpoint, Packet* packet) {
  // Held frames are older and go first.
  if (tx_->held() != 0 && tx_->holds(endpoint)) return false;
  return deps_.gate.push_redirected(config_.id, endpoint, packet);
}

void Worker::punt(EndpointId uplink, const Packet& packet) {
  Packet* copy = clone(packet);
  if (copy != nullptr && !deps_.gate.push_announcement(config_.id, uplink, copy)) free({&copy, 1});
}

void Worker::reroute(const ForwardingState& state, EndpointId endpoint, Packet* packet) {
  pipeline_->emit(state, endpoint, {&packet, 1});
}

void Worker::finish() {
  do {
    rte_pktmbuf_free_bulk(mail_.data(), static_cast<unsigned>(mail_.size()));
    mail_.clear();
    collect_mail();
  } while (!mail_.empty());
  tx_->abandon();
}

}  // namespace godwit::dataplane
