// SPDX-License-Identifier: Apache-2.0
//
// Network over TCP, or TLS over it: sessions are Sessions of peer.h, timers the io_context's.
//
// With TLS files every session is TLS: who connects must show a certificate that names one of the
// peers, who is connected to one that names the host that was meant; before that nothing of ours is
// said. A session is handed on when its handshake is done. Handshakes begin one at a time,
// kHandshakeGapMs apart, ours before strangers' and those of addresses with few waiting before
// those with many: their arithmetic costs the control thread half a millisecond each, and a VM's
// pause must not wait for a queue of them.
//
// Invariants: who is refused, and why, is logged with its address. What is under way ends when this
// goes. Thread safety: the control thread only.
#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log_limit.h"
#include "migration/link/connection_gate.h"
#include "migration/link/network.h"
#include "migration/link/peer.h"

namespace godwit::migration {

inline constexpr uint64_t kHandshakeGapMs = 2;

struct NetworkOptions {
  std::string host;                          // this one's name
  std::map<std::string, std::string> peers;  // host -> "address:port"
  std::optional<TlsFiles> tls;               // none: plain text
  ConnectionLimits limits;
  uint64_t handshake_timeout_ms = 5000;
  uint64_t idle_timeout_ms = 15000;
  LogLimit::Log log = [](const std::string&) {};
};

class AsioNetwork final : public Network {
 public:
  explicit AsioNetwork(asio::io_context& io, NetworkOptions options = {});
  ~AsioNetwork() override;

  // Reads the TLS files, now or again: sessions that begin from here on use them. An error has
  // changed nothing.
  Result<void> load_certificates();
  [[nodiscard]] const std::shared_ptr<const TlsContext>& tls() const { return tls_; }

  void connect(const std::string& address, OnConnected done) override;
  Result<void> listen(const std::string& address, OnAccepted accepted) override;
  void stop_listening() override;
  [[nodiscard]] std::unique_ptr<Timer> timer() override;
  void post(std::function<void()> action) override;
  [[nodiscard]] uint64_t random() override;
  [[nodiscard]] std::vector<LinkInfo> links() const override;

 private:
  struct Attempt;   // a connection whose handshake is not done
  struct Waiting {  // a handshake that waits for its turn
    std::string address;
    bool ours = false;
    std::function<void()> begin;
  };

  void accept();
  void admit(asio::ip::tcp::socket socket);
  void shake_hands(const std::shared_ptr<Attempt>& attempt);
  void queue_handshake(Waiting waiting);
  void next_handshake();
  [[nodiscard]] std::string fault_of(const Attempt& attempt) const;
  std::shared_ptr<Session> make_session(const std::shared_ptr<PeerStream>& stream, bool incoming);
  void refuse(const std::string& address, const std::string& why);

  asio::io_context& io_;
  const NetworkOptions options_;
  std::shared_ptr<const TlsContext> tls_;
  asio::ip::tcp::acceptor acceptor_;
  asio::steady_timer pause_, turn_;
  OnAccepted accepted_;
  ConnectionGate gate_;
  LogLimit refusals_;
  std::list<Waiting> waiting_;
  bool in_turn_ = false;  // turn_ runs
  std::vector<std::weak_ptr<Session>> sessions_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace godwit::migration
