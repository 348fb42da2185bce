// SPDX-License-Identifier: Apache-2.0
//
// Reader of ClassBench filter files and header traces, for measuring classifiers and for tests on
// real sets.
//
// Rules, one a line, the first has the highest priority:
//   @SRC/LEN  DST/LEN  SPORT_LO : SPORT_HI  DPORT_LO : DPORT_HI  PROTO/MASK  [TCPFLAGS/MASK]
// Headers, one a line: source, destination (decimal), source port, destination port, protocol, ...;
// what follows is left out. TCP flags of both are ignored: traces don't carry them.
//
// A file whose name ends in .xz is read through `xz -dc`.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/classifier/classifier.h"

namespace godwit::testing {

// Entries visible from generation 1 on, priority = sequence = the rule's 0-based number. A port
// that is not one value nor every value is a range, never several rules. A deque, because entries
// don't move.
Result<std::deque<dataplane::RuleEntry>> read_classbench_rules(const std::string& path);
Result<std::vector<dataplane::FlowKey>> read_classbench_trace(const std::string& path);

}  // namespace godwit::testing
