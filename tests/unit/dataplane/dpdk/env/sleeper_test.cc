// SPDX-License-Identifier: Apache-2.0
#include "dataplane/dpdk/env/sleeper.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

namespace godwit::dataplane {
namespace {

constexpr uint32_t kLongUs = 10'000'000;  // a sleep that only a wake-up ends in time

// A descriptor as a guest's kick: signaled, and never read.
class Event {
 public:
  Event() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Event() { ::close(fd_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  void signal() const {
    const uint64_t one = 1;
    ASSERT_EQ(::write(fd_, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  }

 private:
  const int fd_;
};

class SleeperTest : public ::testing::Test {
 protected:
  // Announces a sleep, sleeps, and returns the tags of the descriptors that ended it.
  std::set<uint32_t> sleep(uint32_t us) {
    Sleeper::Tags tags;
    sleeper_.begin();
    const size_t count = sleeper_.sleep(us, tags);
    return {tags.begin(), tags.begin() + static_cast<std::ptrdiff_t>(count)};
  }
  double seconds(auto&& action) {
    const auto began = std::chrono::steady_clock::now();
    action();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  }
  Sleeper sleeper_;
};

TEST_F(SleeperTest, Sleep_Undisturbed_LastsItsTime) {
  EXPECT_GE(seconds([&] { EXPECT_TRUE(sleep(20'000).empty()); }), 0.019);
}

TEST_F(SleeperTest, Wake_BetweenAnnouncementAndSleep_EndsSleep) {
  Sleeper::Tags tags;
  sleeper_.begin();
  sleeper_.wake();
  EXPECT_LT(seconds([&] { EXPECT_EQ(sleeper_.sleep(kLongUs, tags), 0u); }), 5.0);
}

TEST_F(SleeperTest, Wake_FromAnotherThread_EndsSleep) {
  std::thread waker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    sleeper_.wake();
  });
  EXPECT_LT(seconds([&] { EXPECT_TRUE(sleep(kLongUs).empty()); }), 5.0);
  waker.join();
}

TEST_F(SleeperTest, Wake_WhileAwake_DoesNotEndNextSleep) {
  sleeper_.wake();
  sleeper_.begin();
  sleeper_.cancel();
  sleeper_.wake();
  EXPECT_GE(seconds([&] { EXPECT_TRUE(sleep(20'000).empty()); }), 0.019);
}

TEST_F(SleeperTest, Watch_SignaledDescriptor_IsReportedWithItsTag) {
  const Event first, second;
  ASSERT_TRUE(sleeper_.watch(first.fd(), 3));
  ASSERT_TRUE(sleeper_.watch(second.fd(), 5));
  second.signal();
  EXPECT_EQ(sleep(kLongUs), std::set<uint32_t>{5});
  first.signal();
  second.signal();
  EXPECT_EQ(sleep(kLongUs), (std::set<uint32_t>{3, 5}));
}

TEST_F(SleeperTest, Watch_AlreadySignaled_IsReportedOnce) {
  const Event event;
  event.signal();
  ASSERT_TRUE(sleeper_.watch(event.fd(), 7));
  EXPECT_EQ(sleep(0), std::set<uint32_t>{7});
  EXPECT_TRUE(sleep(0).empty()) << "not signaled again";
  event.signal();
  EXPECT_EQ(sleep(0), std::set<uint32_t>{7}) << "a signal counts though the event was never read";
}

TEST_F(SleeperTest, Watch_SameDescriptorAgain_ReplacesItsTag) {
  const Event event;
  ASSERT_TRUE(sleeper_.watch(event.fd(), 1));
  ASSERT_TRUE(sleeper_.watch(event.fd(), 2));
  event.signal();
  EXPECT_EQ(sleep(kLongUs), std::set<uint32_t>{2});
}

TEST_F(SleeperTest, Watch_BadDescriptor_Fails) {
  EXPECT_FALSE(sleeper_.watch(-1, 1));
  const int closed = eventfd(0, EFD_CLOEXEC);
  ::close(closed);
  EXPECT_FALSE(sleeper_.watch(closed, 1));
}

TEST_F(SleeperTest, Forget_StopsWatchingButNotWaking) {
  const Event event;
  ASSERT_TRUE(sleeper_.watch(event.fd(), 1));
  sleeper_.forget();
  event.signal();
  EXPECT_TRUE(sleep(0).empty());
  sleeper_.begin();
  sleeper_.wake();
  Sleeper::Tags tags;
  EXPECT_LT(seconds([&] { sleeper_.sleep(kLongUs, tags); }), 5.0);
}

TEST_F(SleeperTest, TakeAttention_IsTrueOnceAtStartAndAfterEachAttend) {
  EXPECT_TRUE(sleeper_.take_attention());
  EXPECT_FALSE(sleeper_.take_attention());
  sleeper_.attend();
  sleeper_.attend();
  EXPECT_TRUE(sleeper_.attention());
  EXPECT_TRUE(sleeper_.take_attention());
  EXPECT_FALSE(sleeper_.take_attention());
}

// A thread that changes something and then wakes the sleeper never leaves it asleep.
TEST_F(SleeperTest, Wake_RacingWithSleep_IsNeverLost) {
  constexpr int kRounds = 2000;
  std::atomic<int> posted{0};
  std::thread poster([&] {
    for (int i = 0; i < kRounds; ++i) {
      posted.store(i + 1);
      sleeper_.wake();
    }
  });
  const double took = seconds([&] {
    int seen = 0;
    while (seen < kRounds) {
      Sleeper::Tags tags;
      sleeper_.begin();
      if (posted.load() != seen) {
        sleeper_.cancel();
      } else {
        sleeper_.sleep(kLongUs, tags);
      }
      seen = posted.load();
    }
  });
  poster.join();
  EXPECT_LT(took, 9.0) << "a lost wake-up costs the whole sleep";
}

}  // namespace
}  // namespace godwit::dataplane
