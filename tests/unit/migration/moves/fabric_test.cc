// SPDX-License-Identifier: Apache-2.0
//
// The proof that the fabric has learned the VM's new place: what the source sends and waits for,
// and what the destination answers.
#include <gtest/gtest.h>

#include "migration/moves/fabric/announcer.h"
#include "migration/moves/fabric/fabric_proof.h"
#include "tests/unit/migration/moves/moves_fixture.h"

namespace godwit::migration {
namespace {

constexpr uint64_t kNonce = 0x1122334455667788;
using Kind = FabricMessage::Kind;

class FabricTest : public MovesTest {
 protected:
  FabricTest() {
    document_ = document();
    document_.profiles[0].vlans = {10, 20};
    proof_.set_nonce(kNonce);
    announcer_.set_nonce(kNonce);
  }
  FabricMessage message(Kind kind, uint16_t vlan, uint64_t nonce = kNonce) const {
    return {kind, {vlan, document_.profiles[0].macs[0]}, nonce};
  }
  // Takes the frames that were sent; returns how many of them are of this kind.
  size_t take_emitted(Kind kind) {
    const auto emitted = std::move(switch_.gate.emitted);
    switch_.gate.emitted.clear();
    return static_cast<size_t>(std::ranges::count_if(emitted, [&](const dataplane::Frame& frame) {
      EXPECT_EQ(frame.endpoint, switch_.uplink);
      const auto read = read_fabric_message(frame.bytes);
      return read && read->kind == kind && read->nonce == kNonce;
    }));
  }
  void announce_all() {
    proof_.on_message(message(Kind::kAnnouncement, 10));
    proof_.on_message(message(Kind::kAnnouncement, 20));
  }

  Document document_;
  bool wanted_ = true;
  uint32_t proofs_ = 0;
  FabricProof proof_{context_, document_, {[this] { return wanted_; }, [this] { ++proofs_; }}};
  Announcer announcer_{context_, document_};
};

TEST_F(FabricTest, Proof_WithIncompleteAnnouncement_DoesNotProbe) {
  proof_.on_message(message(Kind::kAnnouncement, 10));
  proof_.on_message(message(Kind::kAnnouncement, 10));
  EXPECT_FALSE(proof_.announced());
  network_.advance_ms(100);
  EXPECT_EQ(take_emitted(Kind::kProbe), 0u);
}

TEST_F(FabricTest, Proof_WithCompleteAnnouncement_ProbesEachAddressRepeatedly) {
  announce_all();
  EXPECT_EQ(take_emitted(Kind::kProbe), 2u);
  network_.advance_ms(1);
  EXPECT_EQ(take_emitted(Kind::kProbe), 2u);
  network_.advance_ms(100);
  EXPECT_GE(take_emitted(Kind::kProbe), 30u);
}

TEST_F(FabricTest, Proof_ComesOnceWithLastEcho) {
  announce_all();
  proof_.on_message(message(Kind::kEcho, 10));
  EXPECT_EQ(proofs_, 0u);
  take_emitted(Kind::kProbe);
  network_.advance_ms(1);
  EXPECT_EQ(take_emitted(Kind::kProbe), 1u) << "an address that was echoed is not probed again";
  proof_.on_message(message(Kind::kEcho, 20));
  proof_.on_message(message(Kind::kEcho, 20));
  EXPECT_EQ(proofs_, 1u);
  network_.advance_ms(100);
  EXPECT_EQ(take_emitted(Kind::kProbe), 0u);
}

TEST_F(FabricTest, Proof_WithOtherNonce_IsIgnored) {
  proof_.on_message(message(Kind::kAnnouncement, 10, 1));
  proof_.on_message(message(Kind::kAnnouncement, 20, 1));
  EXPECT_FALSE(proof_.announced());
  announce_all();
  proof_.on_message(message(Kind::kEcho, 10, 1));
  proof_.on_message(message(Kind::kEcho, 20, 1));
  EXPECT_EQ(proofs_, 0u);
}

TEST_F(FabricTest, Proof_WantedAfterAnnouncement_ProbesThen) {
  wanted_ = false;
  announce_all();
  EXPECT_TRUE(proof_.announced());
  EXPECT_EQ(take_emitted(Kind::kProbe), 0u);
  wanted_ = true;
  proof_.begin_probing();
  EXPECT_EQ(take_emitted(Kind::kProbe), 2u);
  wanted_ = false;
  network_.advance_ms(100);
  EXPECT_EQ(take_emitted(Kind::kProbe), 0u);
}

TEST_F(FabricTest, Announcer_SendsEachRoundAtItsTime) {
  announcer_.announce();
  size_t rounds = 0;
  for (const uint64_t at : kAnnounceAtMs) {
    network_.advance_ms(rounds == 0 ? 0 : at - kAnnounceAtMs[rounds - 1]);
    EXPECT_EQ(take_emitted(Kind::kAnnouncement), 2u) << "round " << rounds;
    ++rounds;
  }
  network_.advance_ms(5000);
  EXPECT_EQ(take_emitted(Kind::kAnnouncement), 0u);
}

TEST_F(FabricTest, Announcer_EchoesProbesForItsAddressesOnly) {
  announcer_.on_message(message(Kind::kProbe, 10));
  EXPECT_EQ(take_emitted(Kind::kEcho), 1u);
  announcer_.on_message(message(Kind::kProbe, 30));
  announcer_.on_message(message(Kind::kProbe, 10, 1));
  announcer_.on_message(message(Kind::kAnnouncement, 10));
  EXPECT_EQ(take_emitted(Kind::kEcho), 0u);
}

}  // namespace
}  // namespace godwit::migration
