// SPDX-License-Identifier: Apache-2.0
//
// Ports and uplinks that differ between hosts.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "migration/policy/document_json.h"
#include "tests/unit/migration/engine/two_engines.h"

namespace godwit::migration {
namespace {

using dataplane::PortEventKind;

class EngineTravelTest : public TwoEngines {
 protected:
  // Moves a VM of host-a to host-b.
  void move(const std::string& vm) {
    auto id = a_engine_->start(vm, "host-b");
    ASSERT_TRUE(id) << id.error().message;
    const auto reached = [&](const std::unique_ptr<Engine>& engine, const char* wanted) {
      const auto all = engine->status(vm);
      return !all.empty() && all.back().state == wanted;
    };
    ASSERT_TRUE(until([&] { return reached(a_engine_, "prepared"); })) << log_;
    rings(a_, a_engine_, vm, PortEventKind::kRingsStopped);
    ASSERT_TRUE(until([&] { return reached(b_engine_, "handed-over"); })) << log_;
    rings(b_, b_engine_, vm, PortEventKind::kRingsRunning);
    ASSERT_TRUE(until([&] { return reached(a_engine_, "done"); })) << log_;
  }
};

TEST_F(EngineTravelTest, ServerPort_IsMadeAsServerThere) {
  a_.ports.ports[a_.store.find("vm7/net0")->port.value].server = true;
  move("vm7");
  EXPECT_TRUE(b_.ports.ports[b_.store.find("vm7/net0")->port.value].server);
  EXPECT_TRUE(b_engine_->export_vm("vm7")->served.contains("vm7/net0"));
  move("stay-a");
  EXPECT_FALSE(b_.ports.ports[b_.store.find("stay-a/net0")->port.value].server);
}

TEST_F(EngineTravelTest, ServerPort_IsPartOfTheDocumentAndItsDigest) {
  const auto client = a_engine_->export_vm("vm7");
  a_.ports.ports[a_.store.find("vm7/net0")->port.value].server = true;
  const auto server = a_engine_->export_vm("vm7");
  ASSERT_TRUE(client && server);
  EXPECT_NE(client->digest, server->digest);
  auto back = document_from_json(to_json(*server));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->served, server->served);
}

TEST_F(EngineTravelTest, NarrowerUplink_IsRefusedAtTheOffer) {
  b_.ports.ports[b_.store.endpoint(b_.uplink)->port.value].mtu = 1400;
  const std::string a = a_.picture(), b = b_.picture();
  start();
  ASSERT_TRUE(until([&] { return state(a_engine_) == "aborted"; })) << log_;
  EXPECT_NE(error(a_engine_).find("uplink physnet1 has MTU 1400 here, and vm7/net0 sends frames of "
                                  "up to 1500 through the source's"),
            std::string::npos)
      << error(a_engine_);
  EXPECT_EQ(a_.picture(), a);
  EXPECT_EQ(b_.picture(), b);
  // A source whose uplink is as narrow loses nothing by the move.
  a_.ports.ports[a_.store.endpoint(a_.uplink)->port.value].mtu = 1400;
  start();
  EXPECT_TRUE(until([&] { return state(a_engine_) == "prepared"; })) << log_;
}

}  // namespace
}  // namespace godwit::migration
