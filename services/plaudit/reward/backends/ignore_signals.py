"""Imported first in the process that models are forked from: a signal to the whole group is the server's to answer."""

import signal

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
