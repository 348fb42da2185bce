// SPDX-License-Identifier: Apache-2.0
//
// Bytes to and from a peer: a TCP connection, or TLS over one. Whoever has one sees no difference
// but in what is known of the other side.
//
// Invariants: one handshake before anything else; at most one read and one write at a time. Over
// TLS the handshake may take kMaxHandshakeBytes from the other side. After close() what is under
// way ends with an error. Thread safety: the control thread (the io_context's handlers).
#pragma once

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/link/tls.h"

namespace godwit::migration {

inline constexpr size_t kMaxHandshakeBytes = 65536;

class PeerStream {
 public:
  using Done = std::function<void(const std::string& error, size_t bytes)>;  // error empty: done
  enum class Role { kConnected, kAccepted };

  virtual ~PeerStream() = default;
  virtual void handshake(Done done) = 0;
  virtual void read_some(asio::mutable_buffer room, Done done) = 0;
  virtual void write(const std::vector<asio::const_buffer>& buffers,
                     Done done) = 0;  // all of it; the bytes stay until done
  virtual void close() = 0;

  [[nodiscard]] virtual asio::ip::tcp::socket& socket() = 0;
  // After the handshake. "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty: plain text.
  [[nodiscard]] virtual std::string cipher() const = 0;
  [[nodiscard]] virtual const std::optional<CertificateInfo>& certificate() const = 0;
};

// Plain text without a context.
std::shared_ptr<PeerStream> make_peer_stream(asio::ip::tcp::socket socket, PeerStream::Role role,
                                             std::shared_ptr<const TlsContext> tls);

// "10.0.0.2:40312" or "[fd00::2]:40312"; "?" when it has gone.
[[nodiscard]] std::string address_text(const asio::ip::tcp::socket& socket);

}  // namespace godwit::migration
