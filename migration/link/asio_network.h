// SPDX-License-Identifier: Apache-2.0
//
// The Network over TCP, or over TLS on TCP. Its sessions are of class Session, and its timers use
// the io_context.
//
// With TLS files, every session is TLS. A peer that connects must show a certificate that names one
// of the peers. A peer that this host connects to must show one that names that peer. Nothing is
// sent before this check. A session is delivered when its handshake is done; handshake_queue.h says
// when handshakes begin.
//
// With peers in the options, only their addresses are connected to. Moves keep the address with
// which they began; after a reload it leads to the peer's present one.
//
// A refused connection is logged with its address and the reason. Destroying the network ends all
// connections in progress.
//
// Thread safety: the control thread only.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log_limit.h"
#include "migration/link/connection_gate.h"
#include "migration/link/handshake_queue.h"
#include "migration/link/network.h"
#include "migration/link/session.h"
#include "migration/link/tls_context.h"

namespace godwit::migration {

struct NetworkOptions {
  std::string host;                          // name of this host
  std::map<std::string, std::string> peers;  // host -> "address:port"
  std::optional<TlsFiles> tls;               // plain text without them
  // The hosts that may offer VMs; all peers if not set. Sessions of others take small messages
  // only.
  std::optional<std::set<std::string>> may_offer;
  ConnectionLimits limits;
  uint64_t handshake_timeout_ms = 5000;
  uint64_t idle_timeout_ms = 15000;
  LogLimit::Log log = [](const std::string&) {};
};

class AsioNetwork final : public Network {
 public:
  explicit AsioNetwork(asio::io_context& io, NetworkOptions options = {});
  ~AsioNetwork() override;

  // Reads the TLS files for sessions that begin after this call. An error leaves the previous ones
  // in use.
  Result<void> load_certificates();
  // Replaces the TLS settings by those of a loaded context, which must fit the options.
  void use_certificates(std::shared_ptr<const TlsContext> tls) { tls_ = std::move(tls); }
  [[nodiscard]] const std::shared_ptr<const TlsContext>& tls() const { return tls_; }
  // Replaces peers, limits and timeouts, and the TLS settings unless `tls` is null. New sessions
  // use them at once. Open ones are then checked, one in each turn of the event loop: a session
  // whose host is no longer a peer, or whose certificate is no longer trusted, is closed and
  // logged. The other options stay as they were.
  void reload(const NetworkOptions& options, std::shared_ptr<const TlsContext> tls);

  void connect(const std::string& address, OnConnected done) override;
  Result<void> listen(const std::string& address, OnAccepted accepted) override;
  void stop_listening() override;
  [[nodiscard]] std::unique_ptr<Timer> timer() override;
  void post(std::function<void()> action) override;
  [[nodiscard]] uint64_t random() override;
  [[nodiscard]] std::vector<LinkInfo> links() const override;

 private:
  struct Attempt;  // a connection whose handshake is not done

  void accept();
  void admit(asio::ip::tcp::socket socket);
  void queue_handshake(const std::shared_ptr<Attempt>& attempt, const std::string& address);
  void shake_hands(const std::shared_ptr<Attempt>& attempt);
  // Returns why the certificate of the peer is not accepted; empty if it is. It only has to name
  // some peer here. The session compares it with the hello.
  [[nodiscard]] std::string fault_of(const Attempt& attempt) const;
  // Returns the present address of the peer that has, or had before a reload, this address. Returns
  // an empty text if no peer has.
  [[nodiscard]] std::string present_address(const std::string& address) const;
  // Checks the sessions after a reload, and closes those that may not go on.
  void review(std::vector<std::weak_ptr<Session>> sessions);
  // Returns why the session may not go on; empty if it may.
  [[nodiscard]] std::string fault_of(const Session& session) const;
  std::shared_ptr<Session> make_session(const std::shared_ptr<PeerStream>& stream, bool incoming);
  void refuse(const std::string& address, const std::string& why);

  asio::io_context& io_;
  NetworkOptions options_;
  bool any_peer_;                                        // without peers, all hosts may be reached
  std::map<std::string, std::string> former_addresses_;  // of peers -> host
  std::shared_ptr<const TlsContext> tls_;
  asio::ip::tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  OnAccepted accepted_;
  ConnectionGate gate_;
  LogLimit refusals_;
  HandshakeQueue handshakes_;
  std::vector<std::weak_ptr<Session>> sessions_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // watched by callbacks that outlive this
};

}  // namespace godwit::migration
