# SPDX-License-Identifier: Apache-2.0
"""The scope of a run: its directory, its processes, and their end."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile


class TestbedError(Exception):
    """An operation of the testbed failed. The message says where to look for the reason."""

    __test__ = False  # not a test case for pytest, in spite of its name


class Testbed(contextlib.ExitStack):
    """All resources of one run. Its exit always stops the processes and removes the directory.

    SIGINT, SIGTERM and SIGHUP end the run as an exception does. Create it in the main thread.
    """

    __test__ = False

    # Unix socket paths hold 107 bytes, so the directory's name is short.
    _PREFIX = "godwit-"
    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, keep_logs=None, log=None):
        """Creates an empty testbed.

        `keep_logs` is a directory that receives the logs and configurations at the end. `log` is
        called with each line of the report.
        """
        super().__init__()
        self.directory = None
        self._former_handlers = {}
        self._keep_logs = keep_logs
        self._log = log or (lambda text: None)

    def __enter__(self):
        super().__enter__()
        self.directory = tempfile.mkdtemp(prefix=self._PREFIX)
        self.callback(self._remove_directory)
        self._former_handlers = {
            number: signal.signal(number, self._on_signal) for number in self._SIGNALS
        }
        return self

    def __exit__(self, *exception):
        # A second signal must not cut the cleaning short.
        for number in self._SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        try:
            return super().__exit__(*exception)
        finally:
            for number, handler in self._former_handlers.items():
                signal.signal(number, handler)

    def log(self, text):
        self._log(text)

    def path(self, *parts):
        """A path in the run's directory, whose parent exists."""
        path = os.path.join(self.directory, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def _on_signal(self, number, _frame):
        sys.exit(128 + number)

    def _remove_directory(self):
        if self._keep_logs:
            self._copy_logs()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _copy_logs(self):
        for folder, _, names in os.walk(self.directory):
            for name in names:
                source = os.path.join(folder, name)
                if not os.path.isfile(source):
                    continue
                target = os.path.join(self._keep_logs, os.path.relpath(source, self.directory))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copyfile(source, target)
