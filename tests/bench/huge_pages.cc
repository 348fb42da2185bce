// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/huge_pages.h"

#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <string>

namespace godwit::bench {
namespace {

constexpr const char* kVariable = "GLIBC_TUNABLES";
constexpr const char* kTunable = "glibc.malloc.hugetlb";

}  // namespace

void prefer_huge_pages(char** argv) {
  const char* given = std::getenv(kVariable);
  std::string tunables = given == nullptr ? "" : given;
  if (tunables.find(kTunable) != std::string::npos) return;
  // Its path, not /proc/self/exe: the process keeps its name.
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = '\0';
  tunables += (tunables.empty() ? "" : ":") + std::string(kTunable) + "=1";
  if (setenv(kVariable, tunables.c_str(), 1) != 0) return;
  execv(path, argv);
}

}  // namespace godwit::bench
