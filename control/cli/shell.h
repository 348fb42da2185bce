// SPDX-License-Identifier: Apache-2.0
//
// The interactive shell: line editing, a history kept in ~/.godwit_history, completion by the
// daemon.
#pragma once

#include "control/cli/client.h"
#include "control/cli/session.h"

namespace godwit::cli {

// Until `quit`, `exit` or the end of input. A refused command does not end it.
ExitCode run_shell(Client& client, Session& session);

}  // namespace godwit::cli
