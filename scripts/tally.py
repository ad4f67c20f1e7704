#!/usr/bin/python3
"""tally.py DIRECTORY [FAILED_STEP...]: adds up JUnit reports; ends with "N passed, N failed".

A step can fail without a failed test in its report (NAME.xml for step NAME): a build error, a
program that crashed outside its tests. It then counts as one failure itself. A skipped or
disabled test is a failure: what CI does not run does not exist. Exit code 0 only when something
passed and nothing failed.
"""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree

BAD = ("failure", "error", "skipped")


def count(report):
    """(number passed, names of the failed) of one report."""
    passed, failed = 0, []
    for case in ElementTree.parse(report).iter("testcase"):
        if any(case.find(kind) is not None for kind in BAD) or case.get("status") == "notrun":
            failed.append(f"{report.stem}: {case.get('classname', '')} {case.get('name')}")
        else:
            passed += 1
    return passed, failed


def main(directory, *failed_steps):
    passed, failed = 0, []
    for report in sorted(pathlib.Path(directory).glob("*.xml")):
        good, bad = count(report)
        passed += good
        failed += bad
    for step in failed_steps:
        if not any(name.startswith(f"{step}: ") for name in failed):
            failed.append(f"{step}: the step itself")
    for name in failed:
        print(f"failed: {name}")
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
