# SPDX-License-Identifier: Apache-2.0
"""The runner of scripts/bench: measures Godwit beside other switches and reports the figures."""
