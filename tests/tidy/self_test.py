#!/usr/bin/python3
"""Shows that tidy.py can fail: a clean small tree passes, and each rule broken alone is found."""

import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import tidy  # noqa: E402

CLEAN = {
    "crypto/meson.build": "static_library('crypto', 'aead.cc')\n",
    "crypto/aead.cc": '#include "crypto/aead.h"\n#include <vector>\n',
    "crypto/aead.h": "#pragma once\n",
    "dataplane/abi/ring.h": "#pragma once\n",
    "dataplane/abi/counters.h": '#include "abi/counters.def"\n',
    "dataplane/abi/counters.def": 'SLUICE_COUNTER(polls, "turns")\n',
    "dataplane/net/segment.h": '#include "abi/ring.h"\n',
    "dataplane/net/wire.h": '#include "net/segment.h"\n',
    "dataplane/net/nic.cc": '#include <rte_ethdev.h>\n#include "net/wire.h"\n',
    "dataplane/net/meson.build": "static_library('net', 'nic.cc')\n",
    "dataplane/tls/open.h": '#include "crypto/aead.h"\n#include "net/segment.h"\n',
    "dataplane/flow/relay.h": '#include "tls/open.h"\nvoid f() { add(Counter::polls); }\n',
    "dataplane/main.cc": '#include "flow/relay.h"\n#include "abi/counters.h"\n'
                         '#include "worker.h"\n',
    "dataplane/worker.h": "#pragma once\n",
    "dataplane/meson.build": "executable('dataplane', 'main.cc')\n",
    "tests/unit/meson.build": "foreach n : ['one_test']\n  executable(n, n + '.cc')\nendforeach\n",
    "tests/unit/one_test.cc": '#include "help.h"\n#include "net/segment.h"\n',
    "tests/unit/help.h": "#pragma once\n",
}

# Name, files to change, the finding that must come (rule and path), and nothing else.
BROKEN = [
    ("long source", {"crypto/aead.cc": '#include "crypto/aead.h"\n' + "int x;\n" * 400},
     ("lines", "crypto/aead.cc")),
    ("long header", {"tests/unit/help.h": "// x\n" * 201}, ("lines", "tests/unit/help.h")),
    ("long line", {"crypto/aead.h": "// " + "x" * 98 + "\n"}, ("columns", "crypto/aead.h")),
    ("crypto uses abi", {"crypto/aead.h": '#include "abi/ring.h"\n'},
     ("include", "crypto/aead.h:abi/ring.h")),
    ("abi uses net", {"dataplane/abi/ring.h": '#include "net/wire.h"\n'},
     ("include", "dataplane/abi/ring.h:net/wire.h")),
    ("tls uses all of net", {"dataplane/tls/open.h": '#include "net/wire.h"\n'},
     ("include", "dataplane/tls/open.h:net/wire.h")),
    ("net uses flow", {"dataplane/net/wire.h": '#include "net/segment.h"\n'
                       '#include "flow/relay.h"\n'},
     ("include", "dataplane/net/wire.h:flow/relay.h")),
    ("relative include", {"dataplane/net/wire.h": '#include "../net/segment.h"\n'},
     ("include", "dataplane/net/wire.h:../net/segment.h")),
    ("DPDK in wire", {"dataplane/net/wire.h": "#include <rte_mbuf.h>\n"},
     ("dpdk", "dataplane/net/wire.h")),
    ("marker", {"crypto/aead.h": "// TO" "DO: later\n"}, ("marker", "crypto/aead.h")),
    ("dead source", {"crypto/left.cc": "int x;\n"}, ("dead", "crypto/left.cc")),
    ("dead header", {"crypto/left.h": "#pragma once\n"}, ("dead", "crypto/left.h")),
    ("unused counter", {"dataplane/abi/counters.def": 'SLUICE_COUNTER(polls, "turns")\n'
                        'SLUICE_GAUGE(never, "nothing")\n'},
     ("unused", "dataplane/abi/counters.def:never")),
]


def findings_of(files):
    with tempfile.TemporaryDirectory() as root:
        for path, content in files.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(content)
        return tidy.all_findings(tidy.Tree(root))


def check_exceptions(failures):
    """The list of exceptions excuses exactly what it names, and may only shrink."""
    findings = findings_of({**CLEAN, "crypto/left.cc": "int x;\n"})
    rows = [("dead crypto/left.cc 1", 0), ("dead crypto/left.cc 2", 1), ("", 1),
            ("dead crypto/left.cc 1\nlines crypto/aead.cc 500", 1)]
    for text, expected in rows:
        found = list(tidy.problems(findings, tidy.read_exceptions(text)))
        if len(found) != expected:
            failures.append(f"exceptions {text!r}: {found}")
    shrunk = tidy.shrink("# why\ndead crypto/left.cc 5\nlines gone.cc 9\n", findings)
    if shrunk != "# why\ndead crypto/left.cc 1\n":
        failures.append(f"shrink gave {shrunk!r}")


def main():
    failures = []
    clean = findings_of(CLEAN)
    if clean:
        failures.append(f"the clean tree has findings: {list(clean.values())}")
    for name, changes, expected in BROKEN:
        found = set(findings_of({**CLEAN, **changes}))
        # A changed include may leave another header unused: only `expected` matters then.
        if expected not in found:
            failures.append(f"{name}: {expected} not among {sorted(found)}")
        if any(rule not in (expected[0], "dead") for rule, _ in found):
            failures.append(f"{name}: more than expected: {sorted(found)}")
    check_exceptions(failures)
    for failure in failures:
        print(failure)
    print(f"tidy self-test: {len(BROKEN)} broken trees, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
