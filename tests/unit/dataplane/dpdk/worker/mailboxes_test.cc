// SPDX-License-Identifier: Apache-2.0
//
// Mailboxes on rings in ordinary memory. EAL is not started.
#include "dataplane/dpdk/worker/mailboxes.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <set>
#include <string>
#include <thread>

namespace godwit::dataplane {
namespace {

Result<RingPtr> ring_without_eal(const char* name, unsigned capacity, int) {
  unsigned slots = 1;
  while (slots <= capacity) slots *= 2;
  const auto bytes = static_cast<size_t>(rte_ring_get_memsize(slots));
  auto* ring = static_cast<rte_ring*>(std::aligned_alloc(RTE_CACHE_LINE_SIZE, bytes));
  if (ring == nullptr ||
      rte_ring_init(ring, name, capacity, RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ) != 0)
    return fail("no ring");
  return RingPtr(ring, RingDeleter{[](rte_ring* gone) { std::free(gone); }});
}

class MailboxesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = Mailboxes::create({0, 0, 0}, ring_without_eal);
    ASSERT_TRUE(made) << made.error().message;
    mail_ = std::move(*made);
  }
  rte_mbuf* frame(size_t i) { return &frames_[i]; }
  std::unique_ptr<Mailboxes> mail_;
  std::array<rte_mbuf, 8> frames_{};
};

TEST_F(MailboxesTest, Create_MakesNamedRingsForEachPairWithoutSelf) {
  std::set<std::string> names;
  std::set<unsigned> capacities;
  auto made = Mailboxes::create({0, 0}, [&](const char* name, unsigned capacity, int node) {
    names.insert(name);
    capacities.insert(capacity);
    return ring_without_eal(name, capacity, node);
  });
  ASSERT_TRUE(made);
  EXPECT_EQ(names, (std::set<std::string>{"mail_1_0", "mail_2_0", "mail_0_1", "mail_2_1"}));
  EXPECT_EQ(capacities, (std::set<unsigned>{Mailboxes::kWorkerFrames, Mailboxes::kControlFrames}));
}

TEST_F(MailboxesTest, Create_RingFails_PassesErrorOn) {
  const auto made = Mailboxes::create(
      {0}, [](const char*, unsigned, int) -> Result<RingPtr> { return fail("no memory"); });
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().message, "no memory");
}

TEST_F(MailboxesTest, Receive_KeepsOrderOfEachSender) {
  for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(mail_->send(0, WorkerId{1}, frame(i)));
  ASSERT_TRUE(mail_->send(mail_->control_sender(), WorkerId{1}, frame(5)));
  std::array<rte_mbuf*, 8> out{};
  EXPECT_EQ(mail_->receive(0, WorkerId{1}, out.data(), 2), 2u);
  EXPECT_EQ(out[0], frame(0));
  EXPECT_EQ(out[1], frame(1));
  EXPECT_EQ(mail_->receive(0, WorkerId{1}, out.data(), 8), 1u);
  EXPECT_EQ(out[0], frame(2));
  EXPECT_EQ(mail_->receive(mail_->control_sender(), WorkerId{1}, out.data(), 8), 1u);
  EXPECT_EQ(out[0], frame(5));
}

TEST_F(MailboxesTest, Waiting_IsTrueForPairWithFramesOnly) {
  EXPECT_FALSE(mail_->waiting(0, WorkerId{2}));
  ASSERT_TRUE(mail_->send(0, WorkerId{2}, frame(0)));
  EXPECT_TRUE(mail_->waiting(0, WorkerId{2}));
  EXPECT_FALSE(mail_->waiting(1, WorkerId{2}));
  EXPECT_FALSE(mail_->waiting(0, WorkerId{1}));
}

TEST_F(MailboxesTest, Send_RingFull_FailsUntilReceived) {
  for (unsigned i = 0; i < Mailboxes::kWorkerFrames; ++i)
    ASSERT_TRUE(mail_->send(0, WorkerId{1}, frame(0))) << i;
  EXPECT_FALSE(mail_->send(0, WorkerId{1}, frame(1)));
  EXPECT_TRUE(mail_->send(2, WorkerId{1}, frame(1))) << "another sender's ring has room";
  rte_mbuf* out = nullptr;
  ASSERT_EQ(mail_->receive(0, WorkerId{1}, &out, 1), 1u);
  EXPECT_TRUE(mail_->send(0, WorkerId{1}, frame(1)));
}

TEST_F(MailboxesTest, Wake_EndsSleepOfNamedWorker) {
  Sleeper::Tags tags;
  std::thread sender([&] {
    ASSERT_TRUE(mail_->send(0, WorkerId{1}, frame(0)));
    mail_->wake(WorkerId{1});
  });
  Sleeper& sleeper = mail_->sleeper(WorkerId{1});
  while (!mail_->waiting(0, WorkerId{1})) {
    sleeper.begin();
    if (mail_->waiting(0, WorkerId{1})) {
      sleeper.cancel();
      break;
    }
    sleeper.sleep(10'000'000, tags);
  }
  sender.join();
  EXPECT_TRUE(mail_->waiting(0, WorkerId{1}));
}

TEST_F(MailboxesTest, TwoThreads_FramesArriveOnceInOrder) {
  constexpr uintptr_t kFrames = 100'000;
  std::thread sender([&] {
    for (uintptr_t i = 1; i <= kFrames; ++i) {
      while (!mail_->send(0, WorkerId{1}, reinterpret_cast<rte_mbuf*>(i)))
        std::this_thread::yield();
    }
  });
  uintptr_t next = 1;
  std::array<rte_mbuf*, Mailboxes::kBurstFrames> out{};
  while (next <= kFrames) {
    const unsigned count = mail_->receive(0, WorkerId{1}, out.data(), Mailboxes::kBurstFrames);
    if (count == 0) std::this_thread::yield();
    for (unsigned i = 0; i < count; ++i) ASSERT_EQ(reinterpret_cast<uintptr_t>(out[i]), next++);
  }
  sender.join();
}

}  // namespace
}  // namespace godwit::dataplane
