// SPDX-License-Identifier: Apache-2.0
//
// The interactive shell. It edits lines, keeps a history in ~/.godwit_history, and asks the daemon
// for completions.
#pragma once

#include "control/cli/client.h"
#include "control/cli/session.h"

namespace godwit::cli {

// Runs lines until `quit`, `exit` or the end of input, then returns kDone. A refused command does
// not end the shell. Returns kUsage if the line editor cannot be started.
ExitCode run_shell(Client& client, Session& session);

}  // namespace godwit::cli
