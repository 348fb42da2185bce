// SPDX-License-Identifier: Apache-2.0
//
// The interactive shell: line editing, a history in ~/.godwit_history, completion by the daemon.
#pragma once

#include "control/cli/client.h"
#include "control/cli/session.h"

namespace godwit::cli {

// Runs lines until `quit`, `exit` or the end of input. A refused command does not end the shell.
ExitCode run_shell(Client& client, Session& session);

}  // namespace godwit::cli
