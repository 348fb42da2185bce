// SPDX-License-Identifier: Apache-2.0
//
// How the `godwit` command ends. Part of its interface: scripts look at it.
#pragma once

namespace godwit::cli {

enum class ExitCode : int {
  kDone = 0,
  kRefused = 1,      // the daemon, or a file, said no
  kUsage = 2,        // the command itself is not understood; nothing was sent
  kUnreachable = 3,  // no daemon, no answer in time, or no sense in the answer
};

}  // namespace godwit::cli
