#!/usr/bin/python3
"""House rules as a test: sizes, include direction, DPDK containment, leftovers, dead files.

tidy.py ROOT            checks the tree; exits 1 when a rule is broken
tidy.py ROOT --shrink   lowers the numbers of exceptions.txt to what is there, drops stale lines

Each rule is a function that yields findings. A finding is (rule, path, measure, text); `measure` is
how much of it there is (lines, columns, occurrences). exceptions.txt lists findings that stand for
now, as "rule path measure". The list may only shrink: an entry that is no longer needed, or whose
measure is higher than what is there, fails like a broken rule.
"""

import os
import re
import sys
from collections import namedtuple

Finding = namedtuple("Finding", "rule path measure text")

MAX_LINES = {".cc": 400, ".h": 200}
MAX_COLUMNS = 100
CODE = (".cc", ".h", ".c", ".def")
TEXT = CODE + (".py", ".md", ".build", ".txt", ".toml", ".sh", ".yml", ".conf", "")
SKIPPED_FOLDERS = {".git", "build", "vectors", "__pycache__", ".pytest_cache"}

# Folder -> the layers whose headers it may include. The first that matches a path counts.
# "net/segment.h" names a single header.
LAYERS = [
    ("crypto/", "crypto", {"crypto"}),
    ("dataplane/abi/", "abi", {"abi"}),
    ("dataplane/net/", "net", {"net", "abi", "crypto"}),
    ("dataplane/tcp/", "tcp", {"tcp", "abi", "crypto", "net/segment.h", "net/icmp_error.h"}),
    ("dataplane/tls/", "tls", {"tls", "abi", "crypto", "net/segment.h"}),
    ("dataplane/flow/", "flow", {"flow", "net", "tcp", "tls", "abi", "crypto"}),
    ("dataplane/", "worker", {"worker", "flow", "net", "tcp", "tls", "abi", "crypto"}),
    ("control/", "control", {"control", "abi", "crypto"}),
]
LAYER_NAMES = {name for _, name, _ in LAYERS}

DPDK_FILES = re.compile(r"^dataplane/(net/(nic|buf)[a-z_]*|worker[a-z_]*|main)\.(h|cc)$")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Spelled in two halves, so that this file does not find itself.
MARKERS = re.compile(r"\b(" + "|".join(["TO" "DO", "FIX" "ME", "XX" "X", "HA" "CK"]) + r")\b")
DEF_ENTRY = re.compile(r"^SLUICE_(?:COUNTER|GAUGE|CLOSE_REASON)\((\w+),")


class Tree:
    """All text files below a root, by their path relative to it."""

    def __init__(self, root):
        self.root = root
        self.files = {}
        for folder, names, files in os.walk(root):
            names[:] = sorted(n for n in names if n not in SKIPPED_FOLDERS)
            for name in sorted(files):
                path = os.path.relpath(os.path.join(folder, name), root)
                if os.path.islink(os.path.join(root, path)):
                    continue
                if os.path.splitext(name)[1] in TEXT or name == "meson.build":
                    self.files[path] = self.read(path)

    def read(self, path):
        with open(os.path.join(self.root, path), "rb") as file:
            data = file.read()
        return "" if b"\0" in data else data.decode("utf-8", "replace")

    def lines(self, path):
        return self.files[path].splitlines()

    def with_extension(self, *extensions, under=""):
        return [p for p in self.files
                if os.path.splitext(p)[1] in extensions and p.startswith(under)]


def layer_of(path):
    for prefix, name, allowed in LAYERS:
        if path.startswith(prefix):
            return name, allowed
    return None, None


def includes(tree, path):
    for number, line in enumerate(tree.lines(path), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


def check_sizes(tree):
    for path in tree.with_extension(*MAX_LINES):
        allowed = MAX_LINES[os.path.splitext(path)[1]]
        lines = len(tree.lines(path))
        if lines > allowed:
            yield Finding("lines", path, lines, f"{lines} lines, at most {allowed}")


def check_columns(tree):
    for path in tree.with_extension(*CODE):
        long_lines = [n for n, line in enumerate(tree.lines(path), 1) if len(line) > MAX_COLUMNS]
        if long_lines:
            yield Finding("columns", path, len(long_lines),
                          f"lines over {MAX_COLUMNS} columns: {long_lines[:10]}")


def check_include_direction(tree):
    for path in tree.with_extension(*CODE):
        name, allowed = layer_of(path)
        if name is None:
            continue
        for number, bracket, header in includes(tree, path):
            if bracket == "<":
                continue
            layer = header.split("/")[0]
            if os.path.join(os.path.dirname(path), header) in tree.files and "/" not in header:
                continue  # its neighbour
            if layer not in LAYER_NAMES:
                yield Finding("include", f"{path}:{header}", 1,
                              f'line {number}: "{header}" does not start with a folder\'s name')
            elif layer not in allowed and header not in allowed:
                yield Finding("include", f"{path}:{header}", 1,
                              f'line {number}: {name} may not include "{header}"')


def check_dpdk(tree):
    for path in tree.with_extension(*CODE):
        if layer_of(path)[0] is None or DPDK_FILES.match(path):
            continue
        found = [h for _, _, h in includes(tree, path) if os.path.basename(h).startswith("rte_")]
        if found:
            yield Finding("dpdk", path, len(found), f"includes {found}")


def check_markers(tree):
    for path in tree.files:
        found = [n for n, line in enumerate(tree.lines(path), 1) if MARKERS.search(line)]
        if found:
            yield Finding("marker", path, len(found), f"leftover markers on lines {found[:10]}")


def check_dead_sources(tree):
    """A .cc or .c file is named by a meson.build at its place or above, relative to that place."""
    listed = set()
    for build in (p for p in tree.files if os.path.basename(p) == "meson.build"):
        folder = os.path.dirname(build)
        for name in re.findall(r"'([^'\n]+\.(?:cc|c))'", tree.files[build]):
            listed.add(os.path.normpath(os.path.join(folder, name)))
        # Names built in a loop: 'name' + '.cc', name + '_fuzz.cc'.
        for suffix in set(re.findall(r"\+\s*'(\w*\.cc?)'", tree.files[build])):
            for name in re.findall(r"'([\w/]+)'", tree.files[build]):
                listed.add(os.path.normpath(os.path.join(folder, name + suffix)))
    for path in tree.with_extension(".cc", ".c"):
        if path not in listed:
            yield Finding("dead", path, 1, "in no meson.build")


def check_dead_headers(tree):
    included = set()
    for path in tree.with_extension(*CODE):
        for _, _, header in includes(tree, path):
            included.add(header)
            included.add(os.path.normpath(os.path.join(os.path.dirname(path), header)))
    for path in tree.with_extension(".h", ".def"):
        name, _ = layer_of(path)
        names = {path, os.path.basename(path)} if name is None else {path}
        for prefix, layer, _ in LAYERS:
            if path.startswith(prefix):
                names.add(f"{layer}/{path[len(prefix):]}")
        if not names & included:
            yield Finding("dead", path, 1, "included by nobody")


def check_unused_names(tree):
    """Counters and close reasons that no code outside of their list and its contract names."""
    used = set()
    for path in tree.with_extension(".cc", ".h"):
        if layer_of(path)[0] is not None and not path.startswith("dataplane/abi/"):
            used.update(re.findall(r"\b\w+\b", tree.files[path]))
    for path in tree.with_extension(".def", under="dataplane/abi/"):
        for line in tree.lines(path):
            match = DEF_ENTRY.match(line)
            if match and match.group(1) not in used:
                yield Finding("unused", f"{path}:{match.group(1)}", 1, "nobody uses this name")


CHECKS = [check_sizes, check_columns, check_include_direction, check_dpdk, check_markers,
          check_dead_sources, check_dead_headers, check_unused_names]


def all_findings(tree):
    merged = {}
    for check in CHECKS:
        for finding in check(tree):
            key = (finding.rule, finding.path)
            before = merged.get(key)
            merged[key] = finding if before is None else finding._replace(
                measure=finding.measure + before.measure)
    return merged


def read_exceptions(text):
    exceptions = {}
    for line in text.splitlines():
        line = line.split("#")[0].strip()
        if line:
            rule, path, measure = line.split()
            exceptions[(rule, path)] = int(measure)
    return exceptions


def problems(findings, exceptions):
    """What is wrong, as lines of text; empty when all is well."""
    for key, finding in sorted(findings.items()):
        allowed = exceptions.get(key, 0)
        if finding.measure > allowed:
            yield f"{finding.rule}: {finding.path}: {finding.text}"
        elif finding.measure < allowed:
            yield (f"exception too wide: {finding.rule} {finding.path} {allowed}: "
                   f"now {finding.measure}; lower it")
    for rule, path in sorted(set(exceptions) - set(findings)):
        yield f"exception no longer needed: {rule} {path}; remove it"


def shrink(text, findings):
    """The exceptions file with only what is still needed; comments stay, nothing is added."""
    kept = []
    for line in text.splitlines():
        fields = line.split("#")[0].split()
        if fields:
            finding = findings.get((fields[0], fields[1]))
            if finding is None:
                continue
            measure = min(int(fields[2]), finding.measure)
            line = f"{fields[0]} {fields[1]} {measure}"
        kept.append(line)
    return "".join(line + "\n" for line in kept)


def main(arguments):
    root = arguments[0]
    list_path = os.path.join(root, "tests", "tidy", "exceptions.txt")
    with open(list_path, encoding="utf-8") as file:
        text = file.read()
    findings = all_findings(Tree(root))
    if "--shrink" in arguments[1:]:
        with open(list_path, "w", encoding="utf-8") as file:
            file.write(shrink(text, findings))
        return 0
    count = 0
    for problem in problems(findings, read_exceptions(text)):
        print(problem)
        count += 1
    print(f"tidy: {count} problems, {len(read_exceptions(text))} exceptions")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
