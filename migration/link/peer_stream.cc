// SPDX-License-Identifier: Apache-2.0
#include "migration/link/peer_stream.h"

#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <asio/post.hpp>
#include <asio/ssl/error.hpp>
#include <asio/ssl/stream.hpp>
#include <asio/ssl/verify_context.hpp>
#include <asio/write.hpp>

#include "base/text.h"

namespace godwit::migration {

using asio::ip::tcp;

namespace {

constexpr int kUserTimeoutMs = 5000;  // unacknowledged data for this long ends the connection

void set_options(tcp::socket& socket) {
  std::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  const int on = 1, idle_s = 2, interval_s = 1, probes = 3;
  const int fd = socket.native_handle();
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUserTimeoutMs, sizeof(kUserTimeoutMs));
}

std::string error_text(const std::error_code& error) {
  if (!error) return {};
  if (error == asio::error::eof || error == asio::ssl::error::stream_truncated)
    return "the peer closed the connection";
  return error.message();
}

void close_socket(tcp::socket& socket) {
  std::error_code ignored;
  socket.shutdown(tcp::socket::shutdown_both, ignored);
  socket.close(ignored);
}

class PlainStream final : public PeerStream, public std::enable_shared_from_this<PlainStream> {
 public:
  explicit PlainStream(tcp::socket socket) : socket_(std::move(socket)) {}

  void handshake(Done done) override {
    set_options(socket_);
    asio::post(socket_.get_executor(), [done = std::move(done)] { done({}, 0); });
  }
  void read_some(asio::mutable_buffer room, Done done) override {
    socket_.async_read_some(
        room, [self = shared_from_this(), done = std::move(done)](
                  const std::error_code& error, size_t bytes) { done(error_text(error), bytes); });
  }
  void write(const std::vector<asio::const_buffer>& buffers, Done done) override {
    asio::async_write(
        socket_, buffers,
        [self = shared_from_this(), done = std::move(done)](
            const std::error_code& error, size_t bytes) { done(error_text(error), bytes); });
  }
  void close() override { close_socket(socket_); }
  tcp::socket& socket() override { return socket_; }
  std::string cipher() const override { return {}; }
  const std::optional<CertificateInfo>& certificate() const override { return certificate_; }
  std::string distrust(const std::shared_ptr<const TlsContext>&) override { return {}; }

 private:
  tcp::socket socket_;
  const std::optional<CertificateInfo> certificate_;
};

// The socket under TLS. It limits what a peer may send before the handshake has identified it.
class MeteredSocket {
 public:
  using executor_type = tcp::socket::executor_type;
  using lowest_layer_type = tcp::socket::lowest_layer_type;

  explicit MeteredSocket(tcp::socket socket) : socket_(std::move(socket)) {}
  executor_type get_executor() { return socket_.get_executor(); }
  lowest_layer_type& lowest_layer() { return socket_.lowest_layer(); }
  tcp::socket& socket() { return socket_; }
  void lift_limit() { limit_ = SIZE_MAX; }
  [[nodiscard]] bool exceeded() const { return taken_ > limit_; }

  template <typename Buffers, typename Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    socket_.async_read_some(buffers, [this, handler = std::forward<Handler>(handler)](
                                         std::error_code error, size_t bytes) mutable {
      if (limit_ != SIZE_MAX) taken_ += bytes;
      if (!error && exceeded()) error = asio::error::message_size;
      handler(error, error ? 0 : bytes);
    });
  }
  template <typename Buffers, typename Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    socket_.async_write_some(buffers, std::forward<Handler>(handler));
  }

 private:
  tcp::socket socket_;
  size_t taken_ = 0;
  size_t limit_ = kMaxHandshakeBytes;
};

class TlsStream final : public PeerStream, public std::enable_shared_from_this<TlsStream> {
 public:
  TlsStream(tcp::socket socket, Role role, std::shared_ptr<const TlsContext> tls)
      : tls_(std::move(tls)),
        role_(role),
        stream_(MeteredSocket(std::move(socket)), tls_->context()) {}

  void handshake(Done done) override {
    set_options(socket());
    stream_.set_verify_callback([this](bool good, asio::ssl::verify_context& context) {
      good = good || is_old_list(context.native_handle());
      if (!good && fault_.empty()) note_fault(context.native_handle());
      return good;
    });
    const auto type =
        role_ == Role::kConnected ? asio::ssl::stream_base::client : asio::ssl::stream_base::server;
    stream_.async_handshake(
        type, [self = shared_from_this(), done = std::move(done)](const std::error_code& error) {
          if (error) return done(self->handshake_error(error), 0);
          self->stream_.next_layer().lift_limit();
          if (const X509* shown = SSL_get0_peer_certificate(self->stream_.native_handle()))
            self->certificate_ = describe(*shown);
          done(self->certificate_ ? "" : "TLS: the peer showed no certificate", 0);
        });
  }
  void read_some(asio::mutable_buffer room, Done done) override {
    stream_.async_read_some(room, [self = shared_from_this(), done = std::move(done)](
                                      const std::error_code& error, size_t bytes) {
      done(self->stream_error(error), bytes);
    });
  }
  void write(const std::vector<asio::const_buffer>& buffers, Done done) override {
    asio::async_write(stream_, buffers,
                      [self = shared_from_this(), done = std::move(done)](
                          const std::error_code& error, size_t bytes) {
                        done(self->stream_error(error), bytes);
                      });
  }
  void close() override { close_socket(socket()); }
  tcp::socket& socket() override { return stream_.next_layer().socket(); }
  std::string cipher() const override {
    SSL* ssl = const_cast<TlsStream*>(this)->stream_.native_handle();
    return std::string(SSL_get_version(ssl)) + " " + SSL_get_cipher_name(ssl);
  }
  const std::optional<CertificateInfo>& certificate() const override { return certificate_; }
  std::string distrust(const std::shared_ptr<const TlsContext>& tls) override {
    if (tls == tls_ || tls == nullptr) return {};
    SSL* ssl = stream_.native_handle();
    X509* shown = SSL_get0_peer_certificate(ssl);
    return shown == nullptr ? "it was not shown"
                            : tls->distrust(shown, SSL_get_peer_cert_chain(ssl));
  }

 private:
  // Returns whether the fault is only that a revocation list should have been renewed. What it
  // revokes stays revoked, and no peer is refused because our own file is late.
  static bool is_old_list(X509_STORE_CTX* context) {
    const int error = X509_STORE_CTX_get_error(context);
    if (error != X509_V_ERR_CRL_HAS_EXPIRED && error != X509_V_ERR_CRL_NOT_YET_VALID) return false;
    X509_STORE_CTX_set_error(context, X509_V_OK);
    return true;
  }
  void note_fault(X509_STORE_CTX* context) {
    const X509* at = X509_STORE_CTX_get_current_cert(context);
    fault_ = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
    if (at == nullptr) return;
    const CertificateInfo info = describe(*at);
    fault_ += " (" + info.subject + ", issued by " + info.issuer + ", valid from " +
              utc_text(info.not_before_s) + " to " + utc_text(info.not_after_s) + ")";
  }
  std::string handshake_error(const std::error_code& error) {
    if (stream_.next_layer().exceeded())
      return "TLS: more than " + std::to_string(kMaxHandshakeBytes) + " bytes of handshake";
    if (!fault_.empty()) return "TLS: the peer's certificate: " + fault_;
    return "TLS: " + error_text(error);
  }
  std::string stream_error(const std::error_code& error) const {
    if (error.category() == asio::error::get_ssl_category()) return "TLS: " + error.message();
    return error_text(error);
  }

  const std::shared_ptr<const TlsContext> tls_;
  const Role role_;
  asio::ssl::stream<MeteredSocket> stream_;
  std::optional<CertificateInfo> certificate_;
  std::string fault_;
};

}  // namespace

std::shared_ptr<PeerStream> make_peer_stream(tcp::socket socket, PeerStream::Role role,
                                             std::shared_ptr<const TlsContext> tls) {
  if (tls == nullptr) return std::make_shared<PlainStream>(std::move(socket));
  return std::make_shared<TlsStream>(std::move(socket), role, std::move(tls));
}

}  // namespace godwit::migration
