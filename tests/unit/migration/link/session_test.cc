// SPDX-License-Identifier: Apache-2.0
//
// Sessions over real loopback sockets: who gets in over TLS and who does not, and for how long
// silence is put up with.
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <asio/connect.hpp>
#include <asio/io_context.hpp>
#include <asio/read.hpp>
#include <asio/ssl.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <fstream>

#include "tests/unit/migration/link/session_fixture.h"

namespace godwit::migration {
namespace {

using testing::CertificateOptions;

TEST_F(SessionTest, Tls_BothSidesSeeTheCertificate) {
  serve(options("host-b", "host-a", authority_.issue("host-b")));
  call(options("host-a", "host-b", authority_.issue("host-a")));
  ASSERT_TRUE(answered_) << end_ << log_;
  for (const LinkInfo& link : {ours_->link(), accepted_.at(0)->link()}) {
    EXPECT_TRUE(link.cipher.starts_with("TLSv1.3 ")) << link.cipher;
    EXPECT_EQ(link.version, kVersionHigh);
    ASSERT_TRUE(link.certificate);
    EXPECT_EQ(link.certificate->names, std::vector<std::string>{link.host});
    EXPECT_EQ(link.certificate->subject, "CN = " + link.host);
    EXPECT_GT(link.certificate->not_after_s, time(nullptr));
  }
  EXPECT_EQ(client_->links().size(), 1u);
}

struct Refusal {
  const char* name;
  CertificateOptions certificate;
  const char* subject;
  const char* claims;
  bool other_authority;
  const char* reason;  // in the server's log
};
class RefusedPeers : public SessionTest, public ::testing::WithParamInterface<Refusal> {};

TEST_P(RefusedPeers, AreLoggedWithTheirAddressAndTheReason) {
  const Refusal& the = GetParam();
  serve(options("host-b", "host-a", authority_.issue("host-b")));
  TestAuthority another("Another CA");
  TlsFiles files = (the.other_authority ? another : authority_).issue(the.subject, the.certificate);
  files.ca = authority_.ca();
  NetworkOptions client = options("host-a", "host-b", files);
  client.host = the.subject;  // what it would say of itself is not what is tested here
  client.log = [](const std::string&) {};
  call(std::move(client), the.claims);
  EXPECT_FALSE(answered_);
  EXPECT_TRUE(until([&] { return log_.find(the.reason) != std::string::npos; }, 1000))
      << log_ << end_;
  EXPECT_TRUE(heard_.empty()) << "it was heard all the same";
  EXPECT_TRUE(log_.find("127.0.0.1:") != std::string::npos || log_.starts_with("closed: ")) << log_;
}
INSTANTIATE_TEST_SUITE_P(
    ByReason, RefusedPeers,
    ::testing::Values(
        Refusal{"WrongAuthority",
                {},
                "host-a",
                "host-a",
                true,
                "unable to get local issuer certificate (CN = host-a, issued by CN = Another CA"},
        Refusal{"Expired",
                {"", -7000, -60},
                "host-a",
                "host-a",
                false,
                "certificate has expired (CN = host-a"},
        Refusal{"NotYetValid",
                {"", 60, 7000},
                "host-a",
                "host-a",
                false,
                "certificate is not yet valid (CN = host-a"},
        Refusal{"NoPeersName",
                {},
                "host-x",
                "host-a",
                false,
                "is for host-x, not for one of this switch's peers"},
        Refusal{"AnothersName",
                {"DNS:host-c,DNS:host-a"},
                "host-c",
                "host-z",
                false,
                "calls itself host-z, and its certificate (CN = host-c) is for host-c, host-a"},
        Refusal{"Wildcard",
                {"DNS:*,DNS:host-w"},
                "host-w",
                "host-a",
                false,
                "not for one of this switch's peers"}),
    [](const auto& one) { return std::string(one.param.name); });

TEST_F(SessionTest, Client_WithoutCertificate_GetsAnAlert) {
  serve(options("host-b", "host-a", authority_.issue("host-b")));
  asio::ssl::context context(asio::ssl::context::tls_client);
  asio::ssl::stream<tcp::socket> stream(io_, context);
  stream.lowest_layer().connect(*parse_address(address_));
  std::error_code end;
  bool over = false;
  char byte = 0;
  stream.async_handshake(asio::ssl::stream_base::client, [&](const std::error_code& error) {
    if (error) return void((end = error, over = true));
    asio::async_read(stream, asio::buffer(&byte, 1),
                     [&](const std::error_code& closed, size_t) { end = closed, over = true; });
  });
  ASSERT_TRUE(until([&] { return over; }));
  EXPECT_NE(end.message().find("certificate required"), std::string::npos) << end.message();
  EXPECT_NE(log_.find("peer did not return a certificate"), std::string::npos) << log_;
}

TEST_F(SessionTest, Tls12_IsRefused) {
  serve(options("host-b", "host-a", authority_.issue("host-b")));
  asio::ssl::context context(asio::ssl::context::tlsv12_client);
  asio::ssl::stream<tcp::socket> stream(io_, context);
  stream.lowest_layer().connect(*parse_address(address_));
  std::error_code end;
  bool over = false;
  stream.async_handshake(asio::ssl::stream_base::client,
                         [&](const std::error_code& error) { end = error, over = true; });
  ASSERT_TRUE(until([&] { return over; }));
  EXPECT_TRUE(end) << "TLS 1.2";
  EXPECT_NE(log_.find("unsupported protocol"), std::string::npos) << log_;
}

TEST_F(SessionTest, Server_WithWrongCertificate_ReceivesNothing) {
  NetworkOptions other = options("host-c", "host-a", authority_.issue("host-c"));
  serve(std::move(other));
  call(options("host-a", "host-b", authority_.issue("host-a")));
  EXPECT_FALSE(answered_);
  EXPECT_NE(end_.find("is for host-c, not for the host that is configured at " + address_),
            std::string::npos)
      << end_;
  until([] { return false; }, 50);
  EXPECT_TRUE(heard_.empty());
}

TEST_F(SessionTest, TlsSession_IsNeverResumed) {
  serve(options("host-b", "host-a", authority_.issue("host-b")));
  const TlsFiles files = authority_.issue("host-a");
  asio::ssl::context context(asio::ssl::context::tls_client);
  context.use_certificate_chain_file(files.certificate);
  context.use_private_key_file(files.key, asio::ssl::context::pem);
  SSL_CTX_set_session_cache_mode(context.native_handle(), SSL_SESS_CACHE_CLIENT);
  static int tickets;
  tickets = 0;
  SSL_CTX_sess_set_new_cb(context.native_handle(), [](SSL*, SSL_SESSION*) { return ++tickets, 0; });
  asio::ssl::stream<tcp::socket> stream(io_, context);
  stream.lowest_layer().connect(*parse_address(address_));
  const std::string hello = hello_bytes(1, 2, "host-a");
  std::string got(4, 0);
  bool over = false;
  stream.async_handshake(asio::ssl::stream_base::client, [&](const std::error_code& error) {
    ASSERT_FALSE(error) << error.message();
    asio::async_write(stream, asio::buffer(hello), [&](const std::error_code&, size_t) {
      asio::async_read(stream, asio::buffer(got), [&](const std::error_code& end, size_t) {
        EXPECT_FALSE(end);
        over = true;
      });
    });
  });
  ASSERT_TRUE(until([&] { return over; })) << log_;
  EXPECT_EQ(tickets, 0) << "nothing to resume by";
  EXPECT_EQ(SSL_SESSION_is_resumable(SSL_get_session(stream.native_handle())), 0);
  EXPECT_EQ(SSL_SESSION_get_max_early_data(SSL_get_session(stream.native_handle())), 0u);
}

TEST_F(SessionTest, Handshake_OverItsBytesOrTime_IsClosed) {
  serve(options("host-b", "host-a", authority_.issue("host-b")));
  // A ClientHello that claims 130,000 bytes, in records of 16,384.
  std::string flood;
  for (int i = 0; i < 8; ++i) {
    std::string record(16384, 'x');
    if (i == 0) record.replace(0, 4, std::string("\x01\x01\xfb\xd0", 4));
    flood += std::string("\x16\x03\x01\x40\x00", 5) + record;
  }
  raw(flood);
  EXPECT_NE(log_.find("more than 65536 bytes of handshake"), std::string::npos) << log_;
  raw("");
  EXPECT_NE(log_.find("no handshake within 400 ms"), std::string::npos) << log_;
  raw("GET / HTTP/1.0\r\n\r\n");
  EXPECT_NE(log_.find("http request"), std::string::npos) << log_;
  raw(std::string(500, '\xa5'));
  EXPECT_NE(log_.find("TLS: "), std::string::npos) << log_;
  EXPECT_TRUE(accepted_.empty());
}

TEST_F(SessionTest, Reload_AppliesToNewSessions_AndKeepsOldFilesOnError) {
  const TlsFiles files = authority_.issue("host-b");
  serve(options("host-b", "host-a", files));
  NetworkOptions client = options("host-a", "host-b", authority_.issue("host-a"));
  call(client);
  ASSERT_TRUE(answered_);
  const auto first = ours_;
  const int64_t before_s = first->link().certificate->not_after_s;
  std::ofstream(files.certificate) << "-----BEGIN CERTIFICATE-----\nrubbish\n";
  EXPECT_FALSE(server_->load_certificates());
  call(client);
  ASSERT_TRUE(answered_) << end_;
  EXPECT_EQ(ours_->link().certificate->not_after_s, before_s);
  authority_.issue("host-b", {"", -3600, 6000});
  ASSERT_TRUE(server_->load_certificates());
  call(client);
  ASSERT_TRUE(answered_) << end_;
  EXPECT_GT(ours_->link().certificate->not_after_s, before_s);
  EXPECT_TRUE(first->link().certificate) << "an older session goes on";
}

TEST_F(SessionTest, Files_ThatDoNotMatch_AreRefusedByName) {
  TestAuthority another;
  const TlsFiles good = authority_.issue("host-a");
  const auto refused = [&](TlsFiles files, const std::string& file, const std::string& what,
                           const std::string& host = "host-a") {
    const auto loaded = TlsContext::load(files, host);
    ASSERT_FALSE(loaded) << what;
    EXPECT_EQ(loaded.error().token, file) << what;
    EXPECT_NE((loaded.error().message + ", " + loaded.error().expected).find(what),
              std::string::npos)
        << loaded.error().message << ", " << loaded.error().expected;
  };
  ASSERT_TRUE(TlsContext::load(good, "HOST-A")) << "DNS names know no case";
  refused({"/nowhere.crt", good.key, good.ca, ""}, "/nowhere.crt", "No such file");
  refused({good.certificate, "/tmp", good.ca, ""}, "/tmp", "is no file");
  refused({good.certificate, another.issue("host-a").key, good.ca, ""},
          another.folder() + "/host-a.key", "does not belong to the certificate");
  refused(good, good.certificate,
          "is for host-a, and this host is host-b, DNS:host-b in its subjectAltName", "host-b");
  const TlsFiles server_only = authority_.issue("half", {"DNS:host-a", -3600, 3600, "serverAuth"});
  refused(server_only, server_only.certificate, "clientAuth");
  const std::string rubbish = authority_.folder() + "/rubbish";
  std::ofstream(rubbish) << "rubbish";
  refused({rubbish, good.key, good.ca, ""}, rubbish, "no start line");
  refused({good.certificate, good.key, rubbish, ""}, rubbish, "authority");
  chmod(good.key.c_str(), 0644);
  refused(good, good.key, "mode 0600");
  chmod(good.key.c_str(), 0600);
  const TlsFiles old = authority_.issue("old", {"DNS:host-a", -7000, -60});
  const auto loaded = TlsContext::load(old, "host-a");
  ASSERT_TRUE(loaded) << "it is used all the same: VMs must not be cut off for it";
  EXPECT_FALSE((*loaded)->check_own(time(nullptr)));
  EXPECT_TRUE((*loaded)->check_own(time(nullptr) - 600));
}

TEST_F(SessionTest, Peer_OfVersion1_IsAcceptedAndNeverPinged) {
  serve(options("host-b", "host-a", {}));
  const std::string got = raw(hello_bytes(1, 1, "host-a"), 3000);
  EXPECT_EQ(got, hello_bytes(kVersionLow, kVersionHigh, "host-b"))
      << "its hello is answered; nothing else is said in three idle times";
  ASSERT_EQ(accepted_.size(), 1u);
  EXPECT_EQ(accepted_[0]->link().version, 1u);
  EXPECT_NE(log_.find("sent nothing of use within 400 ms"), std::string::npos) << log_;
}

TEST_F(SessionTest, Peer_WithoutCommonVersion_LearnsBothRanges) {
  serve(options("host-b", "host-a", {}));
  EXPECT_EQ(raw(hello_bytes(7, 9, "host-a")), hello_bytes(kVersionLow, kVersionHigh, "host-b"));
  EXPECT_NE(log_.find("host-a speaks versions 7 to 9, this switch 1 to 3"), std::string::npos)
      << log_;
  EXPECT_TRUE(heard_.empty());
}

TEST_F(SessionTest, Ping_InVersion1_EndsTheSession) {
  serve(options("host-b", "host-a", {}));
  wire::Envelope ping;
  ping.mutable_ping()->set_number(1);
  raw(hello_bytes(1, 1, "host-a") + frame_message(ping));
  EXPECT_NE(log_.find("a ping in version 1"), std::string::npos) << log_;
}

TEST_F(SessionTest, SilentPeer_IsPingedThenClosed) {
  serve(options("host-b", "host-a", {}));
  // It says hello, and then neither asks nor answers.
  bool taken = false;
  const std::string got = [&] {
    tcp::socket socket(io_);
    socket.connect(*parse_address(address_));
    asio::write(socket, asio::buffer(hello_bytes(1, 2, "host-a")));
    EXPECT_TRUE(until([&] { return !heard_.empty(); }));
    accepted_.at(0)->hand_over(
        [](wire::Envelope&) {},
        [&](const std::string& reason) { taken = true, log_ += reason; });  // part of a move
    EXPECT_TRUE(until([&] { return taken; }, 2000));
    std::string all(4096, 0);
    all.resize(socket.read_some(asio::buffer(all)));
    return all;
  }();
  wire::Envelope ping;
  ping.mutable_ping();
  EXPECT_TRUE(got.ends_with(frame_message(ping))) << "it was asked";
  EXPECT_NE(log_.find("host-a has been silent for"), std::string::npos) << log_;
}

TEST_F(SessionTest, PeerThatReadsNoAnswers_IsNotReadOn) {
  NetworkOptions given = options("host-b", "host-a", {});
  given.handshake_timeout_ms = given.idle_timeout_ms = 60'000;
  serve(std::move(given));
  tcp::socket socket(io_);
  socket.connect(*parse_address(address_));
  wire::Envelope ping;
  ping.mutable_ping()->set_number(1);
  std::string block;
  while (block.size() < 1u << 20) block += frame_message(ping);
  block.insert(0, hello_bytes(1, 2, "host-a"));
  size_t sent = 0;
  std::function<void()> write = [&] {
    asio::async_write(socket, asio::buffer(block), [&](const std::error_code& error, size_t) {
      if (error) return;
      if (sent++ == 0) block.erase(0, hello_bytes(1, 2, "host-a").size());
      if (sent < 64) write();
    });
  };
  write();
  for (size_t before = SIZE_MAX; before != sent;) {
    before = sent;
    until([] { return false; }, 300);
  }
  ASSERT_EQ(accepted_.size(), 1u);
  EXPECT_LT(sent, 64u) << "its own messages must stay in the sockets' buffers";
  EXPECT_LT(accepted_[0]->queued_bytes(), 256u << 10);
  // It reads after all, and its messages are read again.
  const size_t stuck = sent;
  std::string room(1 << 20, 0);
  std::function<void()> read = [&] {
    socket.async_read_some(asio::buffer(room), [&](const std::error_code& error, size_t) {
      if (!error) read();
    });
  };
  read();
  EXPECT_TRUE(until([&] { return sent > stuck + 1; }, 20'000));
}

TEST_F(SessionTest, IdlePeers_StayConnected) {
  serve(options("host-b", "host-a", authority_.issue("host-b")));
  call(options("host-a", "host-b", authority_.issue("host-a")));
  ASSERT_TRUE(answered_) << end_;
  accepted_.at(0)->hand_over([](wire::Envelope&) {},
                             [&](const std::string& reason) { end_ = reason; });
  until([] { return false; }, 1200);  // four idle times
  EXPECT_EQ(end_, "");
  EXPECT_EQ(server_->links().size(), 1u);
}

TEST_F(SessionTest, Garbage_AfterHello_EndsTheSession) {
  serve(options("host-b", "host-a", {}));
  const std::string hello = hello_bytes(1, 2, "host-a");
  const std::pair<std::string, std::string> cases[] = {
      {std::string("\xff\xff\xff\xff", 4),
       "a message of 4294967295 bytes, at most 256 are taken here"},
      {std::string("\0\0\0\0", 4), "a message of 0 bytes"},
      {std::string("\0\0\1\1", 4) + std::string(257, 'x'), "a message of 257 bytes, at most 256"},
      {std::string("\0\0\0\3xyz", 7), "not a message of this protocol"},
      {hello + hello, "a second hello"},
      {hello + std::string("\xff\xff\xff\xff", 4), "at most 67108864 are taken here"},
      {hello + std::string("\0\0\0\3xyz", 7), "not a message of this protocol"},
  };
  for (const auto& [bytes, reason] : cases) {
    log_.clear();
    raw(bytes);
    EXPECT_NE(log_.find(reason), std::string::npos) << reason << "\n" << log_;
  }
}

TEST_F(SessionTest, Peer_ThatMayNotOffer_SendsSmallMessagesOnly) {
  NetworkOptions given = options("host-b", "host-a", {});
  given.may_offer = std::set<std::string>{"host-c"};
  serve(std::move(given));
  raw(hello_bytes(1, 2, "host-a") + std::string("\0\4\0\1", 4));
  EXPECT_NE(log_.find("a message of 262145 bytes, at most 262144 are taken here"),
            std::string::npos)
      << log_;
}

TEST_F(SessionTest, ThousandIdleConnections_DoNotBlockAPeer) {
  NetworkOptions server = options("host-b", "host-a", authority_.issue("host-b"));
  server.handshake_timeout_ms = 10000;
  server.limits = {128, 128, 64};
  serve(std::move(server));
  std::vector<std::unique_ptr<tcp::socket>> idle;
  for (int i = 0; i < 1000; ++i) {
    idle.push_back(std::make_unique<tcp::socket>(io_));
    idle.back()->async_connect(*parse_address(address_), [](const std::error_code&) {});
    if (i % 50 == 0) until([] { return false; }, 4);
  }
  until([] { return false; }, ConnectionGate::kGraceMs + 50);
  call(options("host-a", "host-b", authority_.issue("host-a")));
  EXPECT_TRUE(answered_) << end_ << log_;
  EXPECT_NE(log_.find("there are already 64 pending connections"), std::string::npos) << log_;
  EXPECT_NE(log_.find("and there are already 64"), std::string::npos)
      << "an idle one left for the peer";
}

}  // namespace
}  // namespace godwit::migration
