#!/usr/bin/env python3
"""What the pages point at exists: relative links, their anchors, and files named in backticks.

`src/x.c`, `docs/...` and the like are looked for from the root; `x.c`, `broker/x.c` also beside the page, below src/ and in
every folder.  *, ? and {a,b} may match anything.  A function `f()` is named somewhere in the code.  Also: each decision is in docs/decisions/README.md, each page of docs/ is
reached from docs/README.md, each folder of src/ has a README, and no page or script names the place where it was written.
Prints each offence as FILE:LINE and a last line "N passed, N failed".

Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
"""
import fnmatch
import os
import re
import subprocess
import sys

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
FILES = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True,
                       check=True).stdout.splitlines()
FILES = [f for f in FILES if os.path.isfile(f)]
FOLDERS = {f[:i] for f in FILES for i in range(len(f)) if f[i] == "/"}
TOPS = "src|docs|tests|script|examples|bench|fuzz"
ENDS = "c|h|md|py|sh|def|schema|conf|txt"
# A file with a known ending, a path below a known folder, or a folder's name with a slash behind it.
A_PATH = re.compile(r"(?:(?:%s)/[\w./*?{},-]+|[\w./*?{},-]+\.(?:%s)|[a-z][\w/{},-]*/)$" % (TOPS, ENDS))
# What is made by a build, belongs to the reader, or stands for any name.
NOT_OURS = re.compile(r"(?:build|data|shard-|checkpoint|journal/|DIR/|NAME|.*NAME|.*TARGET|.*\.gen\.|.*_load$)")
A_FUNCTION = re.compile(r"([a-z_]\w*)\(\)$")
FOREIGN = re.compile(r"/work/|\bdeb\.debian\.org|\bpypi\.org|\brepo1?\.maven|/root/|/home/\w", re.I)


def spread(pattern):
    """a{b,c}d -> abd, acd"""
    found = re.match(r"(.*?)\{([^{}]*)\}(.*)$", pattern)
    if not found:
        return [pattern]
    return [p for part in found.group(2).split(",") for p in spread(found.group(1) + part + found.group(3))]


def exists(pattern, page):
    pattern = pattern.rstrip("/")
    beside = os.path.normpath(os.path.join(os.path.dirname(page), pattern))
    if {pattern, beside, "src/" + pattern} & (FOLDERS | set(FILES)):
        return True
    return any(fnmatch.fnmatch(f, p) for f in FILES + sorted(FOLDERS) for p in (pattern, "*/" + pattern, beside))


def anchors(page):
    titles = re.findall(r"^#+ +(.*)$", open(page, encoding="utf-8").read(), re.M)
    return {re.sub(r"[^\w\- ]", "", t.replace("`", "")).strip().lower().replace(" ", "-") for t in titles}


def code():
    """Every identifier of the sources."""
    names = set()
    for f in FILES:
        if f.endswith((".c", ".h", ".def", ".py")) and f != "tests/structure/links.py":
            names.update(re.findall(r"\w+", open(f, encoding="utf-8", errors="replace").read()))
    return names


def check_link(page, target):
    path, _, anchor = target.partition("#")
    path = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
    if path not in FOLDERS and path not in FILES:
        return f"links to {target}, which does not exist"
    if anchor and anchor not in anchors(path):
        return f"links to {target}: no title of that name"
    return None


def claims(page, known):
    """(line number, what is wrong or None) for everything that the page points at."""
    for number, line in enumerate(open(page, encoding="utf-8"), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if "://" not in target:
                yield number, check_link(page, target)
        for words in re.findall(r"`([^`]+)`", line):
            word = words.split(" ")[0]
            function = A_FUNCTION.match(words)
            if function:
                yield number, None if function.group(1) in known else f"names {words}, which is not in the code"
            if A_PATH.match(word) and not NOT_OURS.match(word):
                bad = [p for p in spread(word) if not exists(p, page)]
                yield number, f"names {bad[0]}, which does not exist" if bad else None


def indexes():
    """(page, what is missing or None)"""
    decisions = open("docs/decisions/README.md", encoding="utf-8").read()
    index = open("docs/README.md", encoding="utf-8").read()
    for f in FILES:
        folder, name = os.path.split(f)
        if folder == "docs/decisions" and name != "README.md":
            yield "docs/decisions/README.md", None if f"({name})" in decisions else f"does not list {name}"
        elif f.startswith("docs/") and f.endswith(".md") and f != "docs/README.md":
            yield "docs/README.md", None if f"({f[len('docs/'):]})" in index else f"does not list {f}"
    for folder in sorted(FOLDERS):
        if folder.startswith("src/") and folder.count("/") == 1:
            yield folder, None if folder + "/README.md" in FILES else "has no README.md"


def strangers():
    """Places that only the author of a line knew."""
    for f in FILES:
        if f.endswith((".jar", ".png")) or f == "tests/structure/links.py":
            continue
        for number, line in enumerate(open(f, encoding="utf-8", errors="replace"), 1):
            if FOREIGN.search(line):
                yield f, number, line.strip()[:100]


def main():
    passed = failed = 0
    known = code()
    for page in (f for f in FILES if f.endswith(".md")):
        for number, wrong in claims(page, known):
            passed, failed = passed + (not wrong), failed + bool(wrong)
            if wrong:
                print(f"{page}:{number}: {wrong}")
    for page, wrong in indexes():
        passed, failed = passed + (not wrong), failed + bool(wrong)
        if wrong:
            print(f"{page}: {wrong}")
    for f, number, line in strangers():
        failed += 1
        print(f"{f}:{number}: names a place that readers do not have: {line}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
