# SPDX-License-Identifier: Apache-2.0
"""The results of the demo: the figures, the verdict, the table and the JSON document."""

import dataclasses

from .scenario import MOVER, Move, TwoHosts

# The time that a move may add to QEMU's own pause and to the gaps without a move.
GAP_ALLOWANCE_MS = 100.0
FIRST_PACKET_MS = 10.0
_STATUS_COUNTS = (
    "rules_exported",
    "rules_rewritten",
    "rules_imported",
    "parked",
    "redirected",
    "park_overflow",
    "redirect_duplicate",
)


@dataclasses.dataclass
class Results:
    """The results of a run.

    `reports` has the final report of each guest, `quiet_gaps_ms` a gap for each pinger, `drops` the
    final show.drops of each host.
    """

    moves: list
    reports: dict
    quiet_gaps_ms: dict
    drops: dict
    forbidden_before: int
    counted_s: float
    wanted_rate: int  # Permitted probes a second and sender. Zero for any; gaps then have bounds.
    transmit_rules: int
    names: dict  # By IP.

    # Figures.

    @property
    def quiet_gap_ms(self):
        return max(self.quiet_gaps_ms.values())

    @property
    def pingers(self):
        """Yields the (name, counts) of each pinger over the whole run."""
        return [
            (f"{name} -> {self.names[target['ip']]}", target)
            for name, report in self.reports.items()
            for target in report["targets"]
        ]

    def _sum(self, key):
        return sum(counts[key] for _, counts in self.pingers)

    @property
    def pings_lost(self):
        return self._sum("sent") - self._sum("received")

    @property
    def forbidden_delivered(self):
        return self.forbidden_before + sum(
            TwoHosts.heard(report, permitted=False) for report in self.reports.values()
        )

    def _probes_sent(self, permitted):
        return sum(TwoHosts.probes_sent(report, permitted) for report in self.reports.values())

    @property
    def permitted_delivered(self):
        return sum(TwoHosts.heard(report, permitted=True) for report in self.reports.values())

    @property
    def permitted_a_second(self):
        """Returns the rate of the slowest sender. Emulated guests miss some of their ticks."""
        paused_s = sum(move.qemu.pause_ms for move in self.moves) / 1000
        return min(
            one["sent"] / (self.counted_s - (paused_s if name == MOVER else 0))
            for name, report in self.reports.items()
            for one in report["probes"]
            if one["permitted"]
        )

    def probes_disturbed(self, what):
        """Returns the number of permitted probes that were "duplicated" or "reordered"."""
        return sum(
            one[what]
            for report in self.reports.values()
            for one in report["heard"]
            if one["permitted"]
        )

    @property
    def unpoliced_packets(self):
        return sum(drops["unpoliced_packets"] for drops in self.drops.values())

    @staticmethod
    def longest_gap_ms(move):
        return max(move.gaps_ms.values())

    def allowed_gap_ms(self, move):
        return move.qemu.pause_ms + GAP_ALLOWANCE_MS + self.quiet_gap_ms

    @staticmethod
    def count(move, key):
        """Returns a figure of the switches, from the side that reports it."""
        return max(move.source_status.get(key) or 0, move.destination_status.get(key) or 0)

    # Verdict.

    def failures(self):
        """Returns texts of the violations, or an empty list."""
        found = []

        def must(holds, text):
            if not holds:
                found.append(text)

        must(self.pings_lost == 0, f"{self.pings_lost} pings lost")
        must(self._sum("duplicated") == 0, f"{self._sum('duplicated')} pings duplicated")
        must(self._sum("sent") > 0, "no pings sent")
        must(self.unpoliced_packets == 0, f"{self.unpoliced_packets} packets passed without policy")
        must(
            self.forbidden_delivered == 0, f"{self.forbidden_delivered} forbidden probes delivered"
        )
        must(self._probes_sent(False) > 0, "no forbidden probes sent")
        lost = self._probes_sent(True) - self.permitted_delivered
        must(
            lost == 0,
            f"{self._probes_sent(True)} permitted probes sent, {self.permitted_delivered} "
            "delivered",
        )
        for what in ("duplicated", "reordered"):
            must(
                self.probes_disturbed(what) == 0,
                f"{self.probes_disturbed(what)} permitted probes {what}",
            )
        must(
            self.permitted_a_second >= self.wanted_rate,
            f"{self.permitted_a_second:.0f} permitted probes a second and sender, "
            f"{self.wanted_rate} wanted",
        )
        for number, move in enumerate(self.moves, start=1):
            # Busy emulated guests answer late.
            must(
                self.wanted_rate > 0 or self.longest_gap_ms(move) <= self.allowed_gap_ms(move),
                f"move {number}: gap of {self.longest_gap_ms(move):.1f} ms, at most "
                f"{self.allowed_gap_ms(move):.1f} ms allowed",
            )
            must(
                move.first_packet_ms is not None,
                f"move {number}: the switch does not report when the first packet arrived",
            )
            must(
                move.first_packet_ms is None or move.first_packet_ms <= FIRST_PACKET_MS,
                f"move {number}: first packet {move.first_packet_ms or 0:.1f} ms after the rings "
                "ran, at most "
                f"{FIRST_PACKET_MS:g} ms allowed",
            )
            must(
                self.count(move, "rules_exported") >= self.transmit_rules,
                f"move {number}: {self.count(move, 'rules_exported')} rules exported, of "
                f"{self.transmit_rules}",
            )
            must(
                self.count(move, "rules_imported") >= self.transmit_rules,
                f"move {number}: {self.count(move, 'rules_imported')} rules imported, of "
                f"{self.transmit_rules}",
            )
        return found

    # Output.

    def document(self):
        """Returns the results for JSON.

        `move_list` has the times and counts of single moves; the rest covers all moves.
        """
        failures = self.failures()
        return {
            "ok": not failures,
            "failures": failures,
            "moves": len(self.moves),
            "pings_sent": self._sum("sent"),
            "pings_lost": self.pings_lost,
            "pings_duplicated": self._sum("duplicated"),
            "pings_reordered": self._sum("reordered"),
            "longest_gap_ms": round(max(map(self.longest_gap_ms, self.moves)), 3),
            "quiet_gap_ms": round(self.quiet_gap_ms, 3),
            "vm_pause_ms": round(max(move.qemu.pause_ms for move in self.moves), 3),
            **{key: sum(self.count(move, key) for move in self.moves) for key in _STATUS_COUNTS},
            "unpoliced_packets": self.unpoliced_packets,
            "forbidden_sent": self._probes_sent(False),
            "forbidden_delivered": self.forbidden_delivered,
            "permitted_sent": self._probes_sent(True),
            "permitted_delivered": self.permitted_delivered,
            "permitted_a_second": round(self.permitted_a_second, 1),
            "permitted_duplicated": self.probes_disturbed("duplicated"),
            "permitted_reordered": self.probes_disturbed("reordered"),
            "pingers": {
                name: {key: counts[key] for key in ("sent", "received", "duplicated", "reordered")}
                for name, counts in self.pingers
            },
            "quiet_gaps_ms": self.quiet_gaps_ms,
            "drops": {host: drops["drops"] for host, drops in self.drops.items()},
            "move_list": [self._move_document(move) for move in self.moves],
        }

    def _move_document(self, move: Move):
        return {
            "source": move.source,
            "destination": move.destination,
            "vm_pause_ms": round(move.qemu.pause_ms, 3),
            "qemu_downtime_ms": move.qemu.downtime_ms,
            "qemu_total_ms": move.qemu.total_ms,
            "longest_gap_ms": round(self.longest_gap_ms(move), 3),
            "allowed_gap_ms": round(self.allowed_gap_ms(move), 3),
            "gaps_ms": move.gaps_ms,
            "first_packet_ms": move.first_packet_ms,
            **{key: self.count(move, key) for key in _STATUS_COUNTS},
            "source_status": move.source_status,
            "destination_status": move.destination_status,
        }

    def table(self):
        """Returns the results as text for people."""
        rows = _Rows()
        rows.add("", *(f"{move.source} -> {move.destination}" for move in self.moves))
        rows.rule()
        rows.add(
            "pause reported by QEMU (STOP to RESUME)",
            *(f"{move.qemu.pause_ms:.1f} ms" for move in self.moves),
        )
        rows.add(
            "  of that, downtime by query-migrate",
            *(f"{move.qemu.downtime_ms:.0f} ms" for move in self.moves),
        )
        for pinger in self.quiet_gaps_ms:
            rows.add(
                f"longest gap, {pinger}", *(f"{move.gaps_ms[pinger]:.1f} ms" for move in self.moves)
            )
        rows.add(
            "  at most allowed (pause + 100 ms + quiet)",
            *(f"{self.allowed_gap_ms(move):.1f} ms" for move in self.moves),
        )
        rows.add(
            "first packet after the VM's rings ran",
            *(
                "unknown" if move.first_packet_ms is None else f"{move.first_packet_ms:.2f} ms"
                for move in self.moves
            ),
        )
        for key, text in (
            ("rules_exported", "rules exported"),
            ("rules_rewritten", "rules rewritten"),
            ("rules_imported", "rules imported"),
            ("parked", "packets parked"),
            ("redirected", "packets redirected"),
            ("redirect_duplicate", "second copies dropped"),
            ("park_overflow", "packets for which the park was full"),
        ):
            rows.add(text, *(f"{self.count(move, key):,}" for move in self.moves))
        return "\n".join([*rows.lines(), "", *self._pinger_lines(), "", *self._total_lines()])

    def _pinger_lines(self):
        rows = _Rows()
        rows.add("", "sent", "lost", "duplicated", "reordered", "quiet gap")
        rows.rule()
        for name, counts in self.pingers:
            rows.add(
                f"pings {name}",
                f"{counts['sent']:,}",
                counts["sent"] - counts["received"],
                counts["duplicated"],
                counts["reordered"],
                f"{self.quiet_gaps_ms[name]:.1f} ms",
            )
        rows.add(
            "all pings",
            f"{self._sum('sent'):,}",
            self.pings_lost,
            self._sum("duplicated"),
            self._sum("reordered"),
            f"{self.quiet_gap_ms:.1f} ms",
        )
        return rows.lines()

    def _total_lines(self):
        # A flooded probe may arrive more than once.
        dropped = max(0, self._probes_sent(False) - self.forbidden_delivered)
        rows = _Rows()
        rows.add("packets that passed without policy", f"{self.unpoliced_packets:,}")
        rows.add(
            "probes that had to be dropped, and were",
            f"{dropped:,} of {self._probes_sent(False):,}",
        )
        rows.add(
            "probes that had to pass, and did",
            f"{self.permitted_delivered:,} of {self._probes_sent(True):,}",
        )
        rows.add("  of these, a second and sender, at least", f"{self.permitted_a_second:,.0f}")
        rows.add(
            "  of these, twice or out of order",
            self.probes_disturbed("duplicated") + self.probes_disturbed("reordered"),
        )
        for host, drops in self.drops.items():
            for reason, packets in drops["drops"].items():
                if packets:
                    rows.add(f"dropped on {host}: {reason}", f"{packets:,}")
        return rows.lines()


class _Rows:
    """Yields the lines of a table, the first column left-aligned, the others right-aligned."""

    def __init__(self):
        self._rows = []

    def add(self, *cells):
        self._rows.append([str(cell) for cell in cells])

    def rule(self):
        self._rows.append(None)

    def lines(self):
        columns = max(len(row) for row in self._rows if row)
        widths = [
            max(len(row[i]) for row in self._rows if row and i < len(row)) for i in range(columns)
        ]
        total = sum(widths) + 3 * (columns - 1)
        return [
            "-" * total
            if row is None
            else "   ".join(
                cell.rjust(widths[i]) if i else cell.ljust(widths[0]) for i, cell in enumerate(row)
            ).rstrip()
            for row in self._rows
        ]
