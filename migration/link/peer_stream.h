// SPDX-License-Identifier: Apache-2.0
//
// A stream of bytes to and from a peer: a TCP connection, or TLS over one. The two differ only in
// what is known about the peer.
//
// Invariants: the handshake comes first, once. At most one read and one write are in progress. A
// TLS handshake reads at most kMaxHandshakeBytes from the peer. close() ends the operations in
// progress with an error.
//
// Thread safety: the control thread (the io_context's handlers).
#pragma once

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/link/tls_context.h"

namespace godwit::migration {

inline constexpr size_t kMaxHandshakeBytes = 65536;

class PeerStream {
 public:
  // `error` is empty on success.
  using Done = std::function<void(const std::string& error, size_t bytes)>;
  enum class Role { kConnected, kAccepted };

  virtual ~PeerStream() = default;
  virtual void handshake(Done done) = 0;
  // Reads at least one byte into `room`, which must stay valid until `done` is called.
  virtual void read_some(asio::mutable_buffer room, Done done) = 0;
  // Writes all buffers. Their bytes must stay valid until `done` is called.
  virtual void write(const std::vector<asio::const_buffer>& buffers, Done done) = 0;
  virtual void close() = 0;

  [[nodiscard]] virtual asio::ip::tcp::socket& socket() = 0;
  // Both of the following are known after the handshake.
  // Returns, for example, "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty for plain text.
  [[nodiscard]] virtual std::string cipher() const = 0;
  // Returns the peer's certificate, or nothing for plain text.
  [[nodiscard]] virtual const std::optional<CertificateInfo>& certificate() const = 0;
  // Returns why a newer context does not trust the peer's certificate. Returns an empty text if it
  // does, if it is the stream's own context, and for plain text.
  [[nodiscard]] virtual std::string distrust(const std::shared_ptr<const TlsContext>& tls) = 0;
};

// Makes a stream over TLS, or over plain TCP if `tls` is null.
std::shared_ptr<PeerStream> make_peer_stream(asio::ip::tcp::socket socket, PeerStream::Role role,
                                             std::shared_ptr<const TlsContext> tls);

}  // namespace godwit::migration
