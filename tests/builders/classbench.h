// SPDX-License-Identifier: Apache-2.0
//
// A reader of ClassBench filter files and header traces, for benchmarks of classifiers and for
// tests with realistic rule sets.
//
// A filter file has one rule a line; the first rule has the highest priority:
//   @SRC/LEN  DST/LEN  SPORT_LO : SPORT_HI  DPORT_LO : DPORT_HI  PROTO/MASK  [TCPFLAGS/MASK]
// A trace has one header a line: source, destination (decimal), source port, destination port,
// protocol. The reader ignores the columns after that, and the TCP flags of rules, because traces
// have none.
//
// The reader decompresses a file whose name ends in .xz with `xz -dc`.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/classifier/classifier.h"

namespace godwit::testing {

// Returns entries that are visible from generation 1 on. The priority and the sequence of an entry
// are the rule's number, from 0 on. A port that is neither one value nor any value becomes a range,
// never several rules. The result is a deque, because entries must not move.
Result<std::deque<dataplane::RuleEntry>> read_classbench_rules(const std::string& path);
Result<std::vector<dataplane::FlowKey>> read_classbench_trace(const std::string& path);

}  // namespace godwit::testing
