// SPDX-License-Identifier: Apache-2.0
#include "migration/link/asio_network.h"

#include <algorithm>
#include <asio/post.hpp>
#include <chrono>
#include <random>
#include <utility>

#include "migration/link/peer_address.h"

namespace godwit::migration {

using asio::ip::tcp;

namespace {

constexpr int kBacklog = 256;
constexpr uint64_t kAcceptPauseMs = 100;  // after an error, such as no free descriptors

uint64_t now_ms() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

class AsioTimer final : public Timer {
 public:
  explicit AsioTimer(asio::io_context& io) : timer_(io) {}
  void set(uint64_t ms, std::function<void()> action) override {
    timer_.expires_after(std::chrono::milliseconds(ms));
    timer_.async_wait([action = std::move(action), alive = std::weak_ptr<int>(alive_),
                       number = ++number_, this](const std::error_code& error) {
      if (!error && !alive.expired() && number == number_) action();
    });
  }
  void cancel() override {
    ++number_;
    timer_.cancel();
  }

 private:
  asio::steady_timer timer_;
  uint64_t number_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace

struct AsioNetwork::Attempt {
  std::shared_ptr<PeerStream> stream;
  std::unique_ptr<asio::steady_timer> limit;
  bool incoming = false;
  std::string address;  // of the peer, with its port
  std::string meant;    // of an outgoing connection: the configured address
  std::function<void(Result<std::shared_ptr<Session>> session)> done;
  bool over = false;

  // Ends the attempt, once. Closes the stream unless there is a session.
  void end(Result<std::shared_ptr<Session>> session) {
    if (std::exchange(over, true)) return;
    limit->cancel();
    if (!session) stream->close();
    if (const auto call = std::exchange(done, nullptr)) call(std::move(session));
  }
};

AsioNetwork::AsioNetwork(asio::io_context& io, NetworkOptions options)
    : io_(io),
      options_(std::move(options)),
      any_peer_(options_.peers.empty()),
      acceptor_(io),
      pause_(io),
      gate_(options_.limits),
      refusals_(options_.log),
      handshakes_(io) {}

AsioNetwork::~AsioNetwork() { stop_listening(); }

Result<void> AsioNetwork::load_certificates() {
  if (!options_.tls) return {};
  auto loaded = TlsContext::load(*options_.tls, options_.host);
  if (!loaded) return fail(loaded.error());
  tls_ = std::move(*loaded);
  return {};
}

void AsioNetwork::reload(const NetworkOptions& options, std::shared_ptr<const TlsContext> tls) {
  for (const auto& [host, address] : options_.peers) former_addresses_[address] = host;
  for (const auto& [host, address] : options.peers) former_addresses_.erase(address);
  any_peer_ = false;
  options_.peers = options.peers;
  options_.may_offer = options.may_offer;
  options_.limits = options.limits;
  options_.handshake_timeout_ms = options.handshake_timeout_ms;
  options_.idle_timeout_ms = options.idle_timeout_ms;
  gate_.set_limits(options.limits);
  if (tls != nullptr) tls_ = std::move(tls);
  review(sessions_);
}

void AsioNetwork::review(std::vector<std::weak_ptr<Session>> sessions) {
  if (sessions.empty()) return;
  const auto session = sessions.back().lock();
  sessions.pop_back();
  if (session != nullptr && session->open()) {
    if (const std::string fault = fault_of(*session); !fault.empty()) {
      options_.log("peer: the session with " + session->link().address + " (" + session->host() +
                   ") is closed: " + fault);
      session->close("peer: " + fault);
    }
  }
  post([this, sessions = std::move(sessions), watch = std::weak_ptr<int>(alive_)] {
    if (!watch.expired()) review(sessions);
  });
}

std::string AsioNetwork::fault_of(const Session& session) const {
  const auto& certificate = session.link().certificate;
  const std::string& host = session.host();
  const bool known = std::ranges::any_of(options_.peers, [&](const auto& peer) {
    return host.empty() ? !certificate || names_host(*certificate, peer.first) : host == peer.first;
  });
  if (!known) return "it is no longer a peer of this switch";
  const std::string why = session.distrust(tls_);
  return why.empty() ? why : "its certificate (" + certificate->subject + "): " + why;
}

std::string AsioNetwork::present_address(const std::string& address) const {
  const auto has = [&](const auto& peer) { return peer.second == address; };
  if (any_peer_ || std::ranges::any_of(options_.peers, has)) return address;
  const auto former = former_addresses_.find(address);
  if (former == former_addresses_.end()) return {};
  const auto now = options_.peers.find(former->second);
  return now == options_.peers.end() ? std::string() : now->second;
}

void AsioNetwork::connect(const std::string& former, OnConnected done) {
  const std::string address = present_address(former);
  if (address.empty())
    return post(
        [done = std::move(done), former] { done(fail("no peer has the address " + former)); });
  auto endpoint = parse_address(address);
  if (!endpoint)
    return post([done = std::move(done), error = endpoint.error()] { done(fail(error)); });
  if (options_.tls && !tls_)
    return post([done = std::move(done)] { done(fail("no certificates are loaded")); });
  auto attempt = std::make_shared<Attempt>();
  attempt->stream = make_peer_stream(tcp::socket(io_), PeerStream::Role::kConnected, tls_);
  attempt->meant = attempt->address = address;
  attempt->done = [done = std::move(done),
                   watch = std::weak_ptr<int>(alive_)](Result<std::shared_ptr<Session>> session) {
    if (watch.expired()) return;
    if (!session) return done(fail(session.error()));
    done(std::shared_ptr<PeerSession>(std::move(*session)));
  };
  attempt->limit = std::make_unique<asio::steady_timer>(
      io_, std::chrono::milliseconds(options_.handshake_timeout_ms));
  attempt->limit->async_wait(
      [attempt, ms = options_.handshake_timeout_ms](const std::error_code& error) {
        if (!error) attempt->end(fail("no connection within " + std::to_string(ms) + " ms"));
      });
  attempt->stream->socket().async_connect(
      *endpoint, [this, attempt, watch = std::weak_ptr<int>(alive_)](const std::error_code& error) {
        if (watch.expired() || attempt->over) return;
        if (error) return attempt->end(fail(error.message()));
        queue_handshake(attempt, attempt->address);
      });
}

Result<void> AsioNetwork::listen(const std::string& address, OnAccepted accepted) {
  auto endpoint = parse_address(address);
  if (!endpoint) return fail(endpoint.error());
  if (options_.tls && !tls_) return fail("no certificates are loaded");
  accepted_ = std::move(accepted);
  std::error_code error;
  acceptor_.open(endpoint->protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(*endpoint, error);
  if (!error) acceptor_.listen(kBacklog, error);
  if (error) return fail("cannot listen on " + address + ": " + error.message());
  accept();
  return {};
}

void AsioNetwork::accept() {
  acceptor_.async_accept(
      [this, watch = std::weak_ptr<int>(alive_)](const std::error_code& error, tcp::socket socket) {
        if (watch.expired() || !acceptor_.is_open()) return;
        if (!error) {
          admit(std::move(socket));
          return accept();
        }
        pause_.expires_after(std::chrono::milliseconds(kAcceptPauseMs));
        pause_.async_wait([this, watch](const std::error_code& cancelled) {
          if (!cancelled && !watch.expired() && acceptor_.is_open()) accept();
        });
      });
}

// An idle connection costs a descriptor. Over TLS nothing is computed before the peer sends bytes.
void AsioNetwork::admit(tcp::socket socket) {
  const std::string address = address_text(socket);
  const std::string host_part = address.substr(0, address.rfind(':'));
  if (const std::string why = gate_.make_room(host_part, now_ms()); !why.empty())
    return refuse(address, "peer: " + why);
  auto attempt = std::make_shared<Attempt>();
  attempt->stream = make_peer_stream(std::move(socket), PeerStream::Role::kAccepted, tls_);
  attempt->incoming = true;
  attempt->address = address;
  const auto ticket = gate_.add(
      {host_part, now_ms(), false, [attempt](const std::string& why) { attempt->end(fail(why)); }});
  attempt->done = [this, ticket, address,
                   watch = std::weak_ptr<int>(alive_)](Result<std::shared_ptr<Session>> session) {
    if (watch.expired()) return;
    if (!session) {
      gate_.remove(ticket);
      return refuse(address, session.error().message);
    }
    ticket->evict = [weak = std::weak_ptr<Session>(*session)](const std::string& why) {
      if (auto alive = weak.lock()) alive->close(why);
    };
    const auto while_alive = [watch](auto action) {
      return [watch, action] {
        if (!watch.expired()) action();
      };
    };
    (*session)->watch(while_alive([this, ticket] { gate_.know(ticket); }),
                      while_alive([this, ticket] { gate_.remove(ticket); }));
    accepted_(std::move(*session));
  };
  attempt->limit = std::make_unique<asio::steady_timer>(
      io_, std::chrono::milliseconds(options_.handshake_timeout_ms));
  attempt->limit->async_wait(
      [attempt, ms = options_.handshake_timeout_ms](const std::error_code& error) {
        if (!error) attempt->end(fail("TLS: no handshake within " + std::to_string(ms) + " ms"));
      });
  if (tls_ == nullptr) return shake_hands(attempt);
  attempt->stream->socket().async_wait(
      tcp::socket::wait_read,
      [this, attempt, host_part, watch = std::weak_ptr<int>(alive_)](const std::error_code& error) {
        if (watch.expired() || attempt->over) return;
        if (error) return attempt->end(fail(error.message()));
        queue_handshake(attempt, host_part);
      });
}

void AsioNetwork::queue_handshake(const std::shared_ptr<Attempt>& attempt,
                                  const std::string& address) {
  handshakes_.push({address, !attempt->incoming, [this, attempt] { shake_hands(attempt); }},
                   tls_ == nullptr ? 0 : kHandshakeGapMs);
}

void AsioNetwork::shake_hands(const std::shared_ptr<Attempt>& attempt) {
  if (attempt->over) return;
  attempt->stream->handshake(
      [this, attempt, watch = std::weak_ptr<int>(alive_)](const std::string& error, size_t) {
        if (watch.expired() || attempt->over) return;
        const std::string fault = error.empty() ? fault_of(*attempt) : error;
        if (!fault.empty()) return attempt->end(fail(fault));
        attempt->end(make_session(attempt->stream, attempt->incoming));
      });
}

std::string AsioNetwork::fault_of(const Attempt& attempt) const {
  const auto& certificate = attempt.stream->certificate();
  if (!certificate) return {};
  // The handshake may have begun before a reload.
  if (const std::string why = attempt.stream->distrust(tls_); !why.empty())
    return "TLS: the peer's certificate: " + why + " (" + certificate->subject + ")";
  bool any = false;
  for (const auto& [host, address] : options_.peers) {
    const bool meant = attempt.incoming || address == attempt.meant;
    if (meant && names_host(*certificate, host)) return {};
    any = any || meant;
  }
  const std::string whose = "TLS: the peer's certificate (" + certificate->subject + ") is for " +
                            names_text(*certificate);
  if (attempt.incoming) return whose + ", not for one of this switch's peers";
  return any || !any_peer_ ? whose + ", not for the host that is configured at " + attempt.meant
                           : std::string();
}

std::shared_ptr<Session> AsioNetwork::make_session(const std::shared_ptr<PeerStream>& stream,
                                                   bool incoming) {
  std::erase_if(sessions_, [](const auto& weak) { return weak.expired(); });
  auto session =
      std::make_shared<Session>(stream,
                                SessionOptions{options_.host, options_.handshake_timeout_ms,
                                               options_.idle_timeout_ms, options_.may_offer},
                                incoming);
  sessions_.push_back(session);
  return session;
}

void AsioNetwork::refuse(const std::string& address, const std::string& why) {
  refusals_.write("peer: a connection from " + address +
                      " is refused: " + (why.starts_with("peer: ") ? why.substr(6) : why),
                  now_ms());
}

std::vector<LinkInfo> AsioNetwork::links() const {
  std::vector<LinkInfo> all;
  for (const auto& weak : sessions_) {
    if (const auto session = weak.lock(); session && session->open() && !session->host().empty())
      all.push_back(session->link());
  }
  return all;
}

void AsioNetwork::stop_listening() {
  std::error_code ignored;
  acceptor_.close(ignored);
}

std::unique_ptr<Timer> AsioNetwork::timer() { return std::make_unique<AsioTimer>(io_); }

void AsioNetwork::post(std::function<void()> action) { asio::post(io_, std::move(action)); }

uint64_t AsioNetwork::random() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

}  // namespace godwit::migration
