// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_network.h"

#include <algorithm>
#include <span>
#include <utility>

namespace godwit::sim {

using migration::Network;
using migration::PeerSession;
namespace wire = migration::wire;

namespace {

constexpr uint64_t kHelloTimeout = 5 * kSecond;
constexpr uint64_t kUserTimeout = 5 * kSecond;  // as TCP_USER_TIMEOUT: unanswered data for so long

}  // namespace

// One end.
class SimSession final : public PeerSession, public std::enable_shared_from_this<SimSession> {
 public:
  SimSession(Wires& wires, unsigned host, unsigned peer, std::shared_ptr<Life> life)
      : wires_(wires), host_(host), peer_(peer), life_(std::move(life)) {}
  ~SimSession() override {
    if (!closed_) say_goodbye();
  }
  void start(OnMessage on_message, OnClosed on_closed) override {
    hand_over(std::move(on_message), std::move(on_closed));
    started_ = true;
    if (closed_) {  // cut before it was read: the first read says so
      wires_.schedule_.after(1 * kUs, [self = shared_from_this()] {
        self->on_message_ = nullptr;
        if (auto tell = std::exchange(self->on_closed_, nullptr); tell && !self->life_->dead)
          tell("Connection reset by peer");
      });
      return;
    }
    wires_.open_.push_back(shared_from_this());
    wires_.schedule_.after(kHelloTimeout, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self && self->link_.version == 0) self->close("peer: no hello within 5000 ms");
    });
    const size_t waiting = std::exchange(stalled_, 0);
    for (size_t i = 0; i < waiting; ++i)
      wires_.schedule_.after(0, [self = shared_from_this()] { self->wires_.arrive(self); });
  }
  void hand_over(OnMessage on_message, OnClosed on_closed) override {
    on_message_ = std::move(on_message);
    on_closed_ = std::move(on_closed);
  }
  void send(const wire::Envelope& message) override {
    if (closed_ || closing_ || life_->dead || !life_->effect()) return;
    const auto other = other_.lock();
    const auto keep = shared_from_this();
    if (wires_.on_said) wires_.on_said(host_, peer_, message);
    const WireFaults& faults = wires_.faults;
    const bool cut = faults.cut_one_in != 0 && wires_.chance_.one_in(faults.cut_one_in);
    const bool before = cut && wires_.chance_.one_in(2);
    if (wires_.trace_.wanted()) {
      wires_.trace_.line(Wires::host_name(host_), "says " + name_of(message) + " to " +
                                                      Wires::host_name(peer_) +
                                                      (before ? ", which is lost" : ""));
    }
    if (severed_ || before || peer_life_->dead) {
      if (message.has_redirect() && wires_.on_lost) wires_.on_lost(message.redirect());
    } else if (other != nullptr && !other->closed_) {
      wires_.carry(other, migration::frame_message(message));
    }
    if (cut) wires_.cut(keep, "a cable");
  }
  void close(const std::string& reason) override {
    if (closed_) return;
    const auto keep = shared_from_this();
    end(reason);
    say_goodbye();
  }
  void close_when_sent() override {
    if (closed_ || closing_) return;
    closing_ = true;
    wires_.schedule_.after(1 * kUs, [self = shared_from_this()] { self->close("closed"); });
  }
  void pause_reading(bool pause) override {
    paused_ = pause;
    if (paused_) return;
    const size_t waiting = std::exchange(held_, 0);
    for (size_t i = 0; i < waiting; ++i)
      wires_.schedule_.after(0, [self = shared_from_this()] { self->wires_.arrive(self); });
  }
  size_t queued_bytes() const override {
    const auto other = other_.lock();
    return other == nullptr ? 0 : other->bytes_on_the_way_;
  }
  const std::string& host() const override { return name_; }
  const migration::LinkInfo& link() const override { return link_; }

  static std::string name_of(const wire::Envelope& message) {
    static constexpr const char* kNames[] = {
        "hello",   "offer", "prepared", "refused", "delta",       "handover", "active",   "revoke",
        "revoked", "abort", "redirect", "barrier", "barrier_ack", "done",     "done_ack", "pull",
        "pulled",  "ask",   "ping",     "pong",    "unknown",     "resend"};
    const auto which = static_cast<size_t>(message.body_case());
    std::string text = which >= 10 && which - 10 < std::size(kNames)
                           ? kNames[which - 10]
                           : "message " + std::to_string(which);
    if (message.has_epoch())
      text += " " + migration::to_string(migration::from_wire(message.epoch()));
    if (message.has_handover())
      text += " for " + migration::to_string(migration::from_wire(message.handover().epoch()));
    if (message.has_redirect())
      text += " " + std::to_string(message.redirect().first()) + "+" +
              std::to_string(message.redirect().frames_size());
    if (message.has_active()) text += " held " + std::to_string(message.active().frames_held());
    return text + (message.vm().empty()
                       ? ""
                       : " of " + message.vm() + " (" + message.move().substr(0, 6) + ")");
  }

 private:
  friend class Wires;
  // Nothing is read or said any more; whoever listens is told.
  void end(const std::string& reason) {
    if (closed_) return;
    closed_ = true;
    if (life_->dead) lose();
    in_flight_.clear();
    bytes_on_the_way_ = 0;
    on_message_ = nullptr;
    if (auto on_closed = std::exchange(on_closed_, nullptr); on_closed && !life_->dead)
      on_closed(reason);
    wires_.forget(this);
  }
  // The other end hears it after what was said before.
  void say_goodbye() {
    const auto other = other_.lock();
    if (other == nullptr || other->closed_ || severed_) return;
    wires_.carry(other, {});
  }
  // What is on the way to this end.
  void lose() {
    for (const std::string& bytes : in_flight_) {
      if (bytes.size() <= migration::kLengthBytes || !wires_.on_lost) continue;
      auto message = migration::parse_message(
          std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size())
              .subspan(migration::kLengthBytes));
      if (message && message->has_redirect()) wires_.on_lost(message->redirect());
    }
    in_flight_.clear();
    bytes_on_the_way_ = 0;
  }
  void take(const std::string& bytes) {
    auto message = migration::parse_message(
        std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size())
            .subspan(migration::kLengthBytes));
    if (!message) return close(message.error().message);
    const bool greeted = link_.version != 0;
    if (message->has_hello() == greeted)
      return close(greeted ? "peer: a second hello" : "peer: spoke before its hello");
    if (!greeted) {
      const auto version = migration::agree_on_version(message->hello());
      if (!version) return close(version.error().message);
      link_.version = *version;
      name_ = message->hello().host();
    }
    if (message->has_redirect() && wires_.on_taken) wires_.on_taken(host_, message->redirect());
    if (wires_.tamper) wires_.tamper(peer_, host_, *message);
    if (const OnMessage on_message = on_message_; on_message) on_message(*message);
  }

  Wires& wires_;
  const unsigned host_, peer_;
  std::shared_ptr<Life> life_;
  std::shared_ptr<Life> peer_life_;
  migration::LinkInfo link_;
  std::weak_ptr<SimSession> other_;
  OnMessage on_message_;
  OnClosed on_closed_;
  std::deque<std::string> in_flight_;  // towards this end; an empty one: the end
  size_t bytes_on_the_way_ = 0;
  size_t stalled_ = 0,
         held_ = 0;  // of them due, but the network, or the reader, does not take them
  uint64_t last_arrival_ = 0;
  std::string name_;
  bool started_ = false, closed_ = false, closing_ = false, paused_ = false;
  bool severed_ = false;  // cut, and this end may not know it yet
};

class SimTimer final : public migration::Timer {
 public:
  SimTimer(Schedule& schedule, std::shared_ptr<Life> life, double rate)
      : schedule_(schedule),
        life_(std::move(life)),
        rate_(rate),
        current_(std::make_shared<uint64_t>(0)) {}
  ~SimTimer() override { ++*current_; }
  void set(uint64_t ms, std::function<void()> action) override {
    const uint64_t number = ++*current_;
    schedule_.after(
        static_cast<uint64_t>(static_cast<double>(ms) * rate_ * static_cast<double>(kMs)),
        [life = life_, current = current_, number, action = std::move(action)] {
          if (!life->dead && *current == number) action();
        });
  }
  void cancel() override { ++*current_; }

 private:
  Schedule& schedule_;
  std::shared_ptr<Life> life_;
  const double rate_;
  std::shared_ptr<uint64_t> current_;  // which set() counts
};

class SimNetwork final : public Network {
 public:
  SimNetwork(Wires& wires, unsigned host, std::shared_ptr<Life> life, double rate)
      : wires_(wires), host_(host), life_(std::move(life)), rate_(rate) {}
  ~SimNetwork() override { stop_listening(); }
  void connect(const std::string& address, OnConnected done) override {
    wires_.connect(host_, life_, address, std::move(done));
  }
  Result<void> listen(const std::string&, OnAccepted accepted) override {
    wires_.listeners_[host_] = {std::move(accepted), life_};
    return {};
  }
  void stop_listening() override {
    if (wires_.listeners_[host_].life == life_) wires_.listeners_[host_] = {};
  }
  std::unique_ptr<migration::Timer> timer() override {
    return std::make_unique<SimTimer>(wires_.schedule_, life_, rate_);
  }
  void post(std::function<void()> action) override {
    wires_.schedule_.after(wires_.chance_.below(5) * kUs,
                           [life = life_, action = std::move(action)] {
                             if (!life->dead) action();
                           });
  }
  uint64_t random() override { return wires_.chance_.next(); }

 private:
  Wires& wires_;
  const unsigned host_;
  std::shared_ptr<Life> life_;
  const double rate_;
};

Wires::~Wires() {
  on_lost = nullptr;
  for (const auto& session : open_) {
    session->closed_ = true;
    session->on_message_ = nullptr;
    session->on_closed_ = nullptr;
  }
}

std::unique_ptr<Network> Wires::attach(unsigned host, std::shared_ptr<Life> life,
                                       double clock_rate) {
  return std::make_unique<SimNetwork>(*this, host, std::move(life), clock_rate);
}

void Wires::connect(unsigned from, const std::shared_ptr<Life>& life, const std::string& address,
                    Network::OnConnected done) {
  unsigned to = 0;
  while (to < kMaxHosts && address_of(to) != address) ++to;
  if (!life->dead && !life->effect()) return;
  const uint64_t way = delay();
  const auto failed = [this, life](uint64_t after, const Network::OnConnected& tell,
                                   const char* why) {
    schedule_.after(after, [life, tell, why] {
      if (!life->dead) tell(fail(why));
    });
  };
  if (to < kMaxHosts && parted_[from][to])
    return failed(chance_.spread(100 * kMs, 3 * kSecond), done, "Connection timed out");
  schedule_.after(way, [=, this] {
    if (life->dead) return;
    if (to == kMaxHosts || !listeners_[to].accepted || listeners_[to].life->dead ||
        parted_[from][to])
      return failed(delay(), done, "Connection refused");
    const auto near = std::make_shared<SimSession>(*this, from, to, life);
    const auto far = std::make_shared<SimSession>(*this, to, from, listeners_[to].life);
    near->other_ = far;
    near->peer_life_ = far->life_;
    far->other_ = near;
    far->peer_life_ = near->life_;
    schedule_.after(delay(), [life, near, done] {
      if (!life->dead) done(std::shared_ptr<PeerSession>(near));
    });
    const auto accepted = listeners_[to].accepted;
    accepted(far);
  });
}

void Wires::carry(const std::shared_ptr<SimSession>& to, std::string bytes) {
  to->bytes_on_the_way_ += bytes.size();
  to->in_flight_.push_back(std::move(bytes));
  to->last_arrival_ = std::max(to->last_arrival_, schedule_.now() + delay());
  schedule_.at(to->last_arrival_, [this, weak = std::weak_ptr<SimSession>(to)] {
    if (const auto session = weak.lock()) arrive(session);
  });
}

void Wires::arrive(const std::shared_ptr<SimSession>& to) {
  if (to->closed_ || to->life_->dead || to->in_flight_.empty()) return;
  if (parted_[to->host_][to->peer_] || !to->started_) {
    ++to->stalled_;
    return;
  }
  if (to->paused_) {
    ++to->held_;
    return;
  }
  const std::string bytes = std::move(to->in_flight_.front());
  to->in_flight_.pop_front();
  to->bytes_on_the_way_ -= bytes.size();
  if (bytes.empty()) return to->end("the peer closed the connection");
  to->take(bytes);
}

void Wires::cut(const std::shared_ptr<SimSession>& session, const char* why) {
  const auto other = session->other_.lock();
  trace_([&] {
    return "session " + host_name(session->host_) + " - " + host_name(session->peer_) +
           " is cut: " + why;
  });
  const bool late = chance_.percent(faults.late_end_percent);
  const bool first = chance_.one_in(2);
  for (const auto& end : {session, other}) {
    if (end == nullptr || end->closed_ || end->severed_) continue;
    end->severed_ = true;
    end->lose();
    const bool later = late && (end == session) == first;
    schedule_.after(
        later ? chance_.spread(10 * kMs, kUserTimeout) : chance_.spread(10 * kUs, 10 * kMs), [end] {
          if (!end->life_->dead) end->end("Connection timed out");
        });
  }
}

void Wires::cut_some() {
  if (!open_.empty()) cut(open_[chance_.below(open_.size())], "a cable");
}

void Wires::cut_between(unsigned a, unsigned b) {
  const auto all = open_;
  for (const auto& session : all) {
    if ((session->host_ == a && session->peer_ == b) ||
        (session->host_ == b && session->peer_ == a))
      cut(session, "chosen");
  }
}

void Wires::kill(unsigned host) {
  const auto all = open_;
  for (const auto& session : all) {
    if (session->host_ != host || !session->life_->dead) continue;
    session->say_goodbye();
    session->end("killed");
  }
}

void Wires::part(unsigned a, unsigned b, bool parted) {
  if (parted_[a][b] == parted) return;
  parted_[a][b] = parted_[b][a] = parted;
  const auto between = [a, b](const SimSession& s) {
    return (s.host_ == a && s.peer_ == b) || (s.host_ == b && s.peer_ == a);
  };
  if (!parted) {
    for (const auto& session : open_) {
      if (!between(*session)) continue;
      const size_t waiting = std::exchange(session->stalled_, 0);
      for (size_t i = 0; i < waiting; ++i)
        schedule_.after(delay(), [this, session] { arrive(session); });
    }
    return;
  }
  const uint64_t number = ++partings_[a][b];
  partings_[b][a] = number;
  schedule_.after(chance_.spread(20 * kMs, kUserTimeout), [this, a, b, number, between] {
    if (!parted_[a][b] || partings_[a][b] != number) return;
    const auto all = open_;
    for (const auto& session : all) {
      if (between(*session)) cut(session, "parted for too long");
    }
  });
}

void Wires::forget(const SimSession* session) {
  std::erase_if(open_, [&](const auto& one) { return one.get() == session; });
}

}  // namespace godwit::sim
