# SPDX-License-Identifier: Apache-2.0
"""What scripts/bench runs: parts that measure Godwit beside its peers, and what is made of their figures."""
