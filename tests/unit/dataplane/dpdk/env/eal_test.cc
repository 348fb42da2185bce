// SPDX-License-Identifier: Apache-2.0
//
// The arguments for EAL. EAL itself is not started.
#include "dataplane/dpdk/env/eal.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace godwit::dataplane {
namespace {

using Args = std::vector<std::string>;

// Returns the argument behind `option`, or "(absent)".
std::string value_of(const Args& args, const std::string& option) {
  const auto found = std::ranges::find(args, option);
  return found == args.end() || found + 1 == args.end() ? "(absent)" : *(found + 1);
}
bool has(const Args& args, const std::string& option) {
  return std::ranges::find(args, option) != args.end();
}

RuntimeOptions options() {
  RuntimeOptions options;
  options.host = "host-a";
  return options;
}

TEST(EalArguments, Lcores_PinWorkersAndLeaveOtherCpusToControl) {
  const Args args = eal_arguments(options(), {2, 3}, {0, 1, 2, 3});
  EXPECT_EQ(value_of(args, "--lcores"), "0@(0,1),1@2,2@3");
  EXPECT_EQ(value_of(args, "--main-lcore"), "0");
}

TEST(EalArguments, Lcores_OneCpuLeft_ControlMayUseAll) {
  EXPECT_EQ(value_of(eal_arguments(options(), {1}, {0, 1}), "--lcores"), "0@(0,1),1@1");
  EXPECT_EQ(value_of(eal_arguments(options(), {0}, {0}), "--lcores"), "0@(0),1@0");
}

TEST(EalArguments, FilePrefix_DefaultsToHost) {
  RuntimeOptions named = options();
  EXPECT_EQ(value_of(eal_arguments(named, {1}, {0, 1}), "--file-prefix"), "godwit-host-a");
  named.file_prefix = "other";
  EXPECT_EQ(value_of(eal_arguments(named, {1}, {0, 1}), "--file-prefix"), "other");
}

TEST(EalArguments, Memory_FollowsHugepages) {
  RuntimeOptions memory = options();
  memory.socket_mb = 128;
  const Args huge = eal_arguments(memory, {0}, {0, 1});
  EXPECT_TRUE(has(huge, "--in-memory"));
  EXPECT_TRUE(value_of(huge, "--socket-mem").ends_with("128"));
  memory.hugepages = false;
  const Args small = eal_arguments(memory, {0}, {0, 1});
  EXPECT_TRUE(has(small, "--no-huge"));
  EXPECT_EQ(value_of(small, "-m"), "128");
  EXPECT_FALSE(has(small, "--in-memory"));
}

TEST(EalArguments, Pci_OffUnlessAskedFor) {
  RuntimeOptions pci = options();
  EXPECT_TRUE(has(eal_arguments(pci, {1}, {0, 1}), "--no-pci"));
  pci.pci = true;
  const Args args = eal_arguments(pci, {1}, {0, 1});
  EXPECT_FALSE(has(args, "--no-pci"));
  EXPECT_NE(value_of(args, "--allow"), "(absent)") << "an allow-list keeps EAL from probing all";
}

TEST(IsPciDevargs, RecognizesPciAddressesOnly) {
  for (const char* devargs :
       {"0000:01:00.0", "0000:01:00.0,txq=4", "01:00.0", "pci:01:00.0", "bus=pci,addr=01:00.0"})
    EXPECT_TRUE(is_pci_devargs(devargs)) << devargs;
  for (const char* devargs : {"net_af_packet0,iface=up0", "net_tap0", "", "net_ring0,a=1.2:3"})
    EXPECT_FALSE(is_pci_devargs(devargs)) << devargs;
}

}  // namespace
}  // namespace godwit::dataplane
