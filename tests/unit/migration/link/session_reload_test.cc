// SPDX-License-Identifier: Apache-2.0
//
// Revocation lists, and what a reload of peers and certificates does to sessions.
#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>

#include "tests/unit/migration/link/session_fixture.h"

namespace godwit::migration {
namespace {

TEST_F(SessionTest, RevokedPeer_IsRefused_AlsoByAListThatIsLate) {
  const TlsFiles client = authority_.issue("host-a");
  TlsFiles server = authority_.issue("host-b");
  for (const long next_s : {3600, -60}) {
    log_.clear();
    server.revoked = authority_.revoke({"host-a"}, next_s);
    serve(options("host-b", "host-a", server));
    call(options("host-a", "host-b", client));
    EXPECT_FALSE(answered_);
    EXPECT_TRUE(until(
        [&] {
          return log_.find("the peer's certificate: certificate revoked (CN = host-a") !=
                 std::string::npos;
        },
        1000))
        << log_ << end_;
    authority_.revoke({"host-b"}, next_s);
    serve(options("host-b", "host-a", server));
    call(options("host-a", "host-b", client));
    EXPECT_TRUE(answered_) << end_ << log_;
  }
}

TEST_F(SessionTest, RevocationList_ThatCannotBeUsed_IsRefused) {
  TlsFiles files = authority_.issue("host-a");
  const auto refused = [&](const std::string& list, const std::string& what) {
    files.revoked = list;
    const auto loaded = TlsContext::load(files, "host-a");
    ASSERT_FALSE(loaded) << what;
    EXPECT_EQ(loaded.error().token, list);
    EXPECT_NE(loaded.error().message.find(what), std::string::npos) << loaded.error().message;
  };
  refused("/nowhere.crl", "No such file");
  refused(files.ca, "no start line");
  TestAuthority another("Another CA");
  refused(another.revoke({}), "unable to get certificate CRL");
  TestAuthority impostor("Test CA");
  refused(impostor.revoke({}), "CRL signature failure");
  const std::string cut = authority_.revoke({"host-a"});
  std::filesystem::resize_file(cut, std::filesystem::file_size(cut) - 60);
  refused(cut, "");

  files.revoked = authority_.revoke({"host-a"}, -60);
  const auto loaded = TlsContext::load(files, "host-a");
  ASSERT_TRUE(loaded) << "VMs must not be cut off because peers refuse this host";
  EXPECT_EQ((*loaded)->revocations()->certificates, 1u);
  EXPECT_LT((*loaded)->revocations()->next_update_s, time(nullptr));
  EXPECT_EQ((*loaded)->check_own(time(nullptr)).error().message, "the certificate is revoked");
}

TEST_F(SessionTest, Reload_ClosesTheSessionOfARevokedCertificate) {
  TlsFiles server = authority_.issue("host-b");
  serve(options("host-b", "host-a", server));
  const NetworkOptions client = options("host-a", "host-b", authority_.issue("host-a"));
  call(client);
  ASSERT_TRUE(answered_) << end_;
  server.revoked = authority_.revoke({"host-b"});
  const auto reload = [&] {
    auto tls = TlsContext::load(server, "host-b");
    ASSERT_TRUE(tls) << tls.error().message;
    server_->reload(options("host-b", "host-a", server), *tls);
    until([&] { return !end_.empty(); }, 100);
  };
  reload();
  EXPECT_EQ(end_, "") << "another certificate is revoked";
  authority_.revoke({"host-a"});
  reload();
  EXPECT_EQ(end_, "the peer closed the connection");
  EXPECT_NE(log_.find("(host-a) is closed: its certificate (CN = host-a): certificate revoked"),
            std::string::npos)
      << log_;
  call(client);
  EXPECT_FALSE(answered_) << "the new list counts for new sessions too";
}

TEST_F(SessionTest, Reload_ClosesTheSessionOfAFormerPeer) {
  for (const bool encrypted : {true, false}) {
    std::optional<TlsFiles> server, client;
    if (encrypted) {
      server = authority_.issue("host-b");
      client = authority_.issue("host-a");
    }
    serve(options("host-b", "host-a", server));
    call(options("host-a", "host-b", client));
    ASSERT_TRUE(answered_) << end_;
    server_->reload(options("host-b", "host-a", server), nullptr);
    until([&] { return !end_.empty(); }, 100);
    EXPECT_EQ(end_, "") << "it is a peer still";
    log_.clear();
    server_->reload(options("host-b", "host-c", server), nullptr);
    EXPECT_TRUE(until([&] { return !end_.empty(); }));
    EXPECT_NE(log_.find("(host-a) is closed: it is no longer a peer"), std::string::npos) << log_;
  }
}

TEST_F(SessionTest, Connect_AfterAReload_FollowsThePeerOrIsRefused) {
  serve(options("host-b", "host-a", {}));
  const std::string former = "127.0.0.1:" + std::to_string(free_port());
  NetworkOptions mine = options("host-a", "host-b", {});
  mine.peers["host-b"] = former;
  client_ = std::make_unique<AsioNetwork>(io_, mine);
  const auto outcome = [&](const std::string& address) {
    std::optional<std::string> error;
    client_->connect(address, [&](Result<std::shared_ptr<PeerSession>> session) {
      error = session ? "" : session.error().message;
    });
    until([&] { return error.has_value(); });
    return error.value_or("nothing");
  };
  EXPECT_EQ(outcome(former), "Connection refused");
  mine.peers["host-b"] = address_;
  client_->reload(mine, nullptr);
  EXPECT_EQ(outcome(former), "") << "a move keeps the address with which it began";
  EXPECT_EQ(outcome(address_), "");
  mine.peers.clear();
  client_->reload(mine, nullptr);
  EXPECT_EQ(outcome(former), "no peer has the address " + former);
  EXPECT_EQ(outcome(address_), "no peer has the address " + address_);
}

}  // namespace
}  // namespace godwit::migration
