// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/liar.h"

namespace godwit::sim {

namespace wire = migration::wire;

namespace {
constexpr size_t kMostOverheard = 64;
constexpr uint64_t kSessionNs = 50 * kMs;
}  // namespace

Liar::Liar(Wires& wires, Schedule& schedule, uint64_t seed, unsigned index)
    : schedule_(schedule), chance_(seed), index_(index), life_(std::make_shared<Life>()) {
  life_->effect = [] { return true; };
  network_ = wires.attach(index, life_, 1);
}

Liar::~Liar() { life_->dead = true; }

void Liar::overhear(const wire::Envelope& message) {
  if (message.move().empty() || message.has_pull() || message.has_offer()) return;
  overheard_.push_back(message);
  if (overheard_.size() > kMostOverheard) overheard_.pop_front();
}

wire::Epoch Liar::some_epoch(const wire::Envelope& overheard) {
  wire::Epoch epoch = overheard.epoch();
  const uint64_t counters[] = {epoch.counter(), epoch.counter() + 1, epoch.counter() + 1000, 0,
                               UINT64_MAX};
  epoch.set_counter(counters[chance_.below(std::size(counters))]);
  if (chance_.one_in(2)) epoch.set_host(Wires::host_name(index_));
  return epoch;
}

wire::Envelope Liar::lie_about(const wire::Envelope& overheard) {
  wire::Envelope lie = overheard;
  if (chance_.one_in(3)) lie.set_move(chance_.one_in(2) ? "0123456789abcdef" : "");
  if (chance_.one_in(2)) *lie.mutable_epoch() = some_epoch(overheard);
  switch (chance_.below(12)) {
    case 0: lie.mutable_abort()->set_reason("a lie"); break;
    case 1: lie.mutable_revoke(); break;
    case 2: lie.mutable_revoked()->set_reason("a lie"); break;
    case 3: lie.mutable_ask(); break;
    case 4: lie.mutable_done(); break;
    case 5: lie.mutable_done_ack(); break;
    case 6: lie.mutable_active()->set_frames_held(chance_.below(3)); break;
    case 7: lie.mutable_barrier()->set_number(static_cast<uint32_t>(chance_.below(3))); break;
    case 8: lie.mutable_refused()->add_reasons("a lie"); break;
    case 9: *lie.mutable_handover()->mutable_epoch() = some_epoch(overheard); break;
    default: break;  // said again as it was
  }
  return lie;
}

void Liar::talk(const std::shared_ptr<migration::PeerSession>& session) {
  session->start([](wire::Envelope&) {}, [](const std::string&) {});
  wire::Envelope hello;
  *hello.mutable_hello() = migration::make_hello(Wires::host_name(index_));
  if (chance_.one_in(2) && !overheard_.empty()) {
    // The first message of a session says which move it is about.
    const wire::Envelope& about = overheard_[chance_.below(overheard_.size())];
    hello.set_vm(about.vm());
    hello.set_move(about.move());
    *hello.mutable_epoch() = some_epoch(about);
  }
  session->send(hello);
  for (uint64_t i = chance_.between(1, 3); i > 0 && !overheard_.empty(); --i)
    session->send(lie_about(overheard_[chance_.below(overheard_.size())]));
  schedule_.after(kSessionNs, [session] { session->close("the liar has done"); });
}

void Liar::lie() {
  const auto to = static_cast<unsigned>(chance_.below(index_));
  network_->connect(Wires::address_of(to),
                    [this](Result<std::shared_ptr<migration::PeerSession>> session) {
                      if (session) talk(*session);
                    });
}

}  // namespace godwit::sim
