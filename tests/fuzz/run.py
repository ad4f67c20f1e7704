#!/usr/bin/python3
"""run.py SECONDS LOG FUZZER [ARGUMENT...]: runs a fuzz target for SECONDS, and then on until it has
had half of them as processor time.

libFuzzer's own limit is the clock's. Targets run beside other tests, on what those leave of the
processors, and could then do next to nothing in their time. What the target says goes to LOG, of
which the end is shown when it found something.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SHOWN_BYTES = 16_000


def processor_seconds(pid):
    """What the process has used so far; fields 14 and 15 of proc(5), behind the name's bracket."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def enough(pid, began, seconds):
    return time.monotonic() - began >= seconds and processor_seconds(pid) >= seconds / 2


def main(seconds, log, *command):
    began = time.monotonic()
    with open(log, "w") as output:
        fuzzer = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while fuzzer.poll() is None and not enough(fuzzer.pid, began, float(seconds)):
            time.sleep(0.2)
        fuzzer.send_signal(signal.SIGUSR1)  # libFuzzer: print the statistics and leave
        code = fuzzer.wait()
    said = pathlib.Path(log).read_text(errors="replace")
    inputs = re.search(r"stat::number_of_executed_units: *(\d+)", said)
    if code != 0 or inputs is None or int(inputs[1]) == 0:
        print(said[-SHOWN_BYTES:])
        print(f"{command[0]}: exit code {code}")
        return 1
    print(f"{inputs[1]} inputs, {time.monotonic() - began:.0f} s of the clock")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
