#!/usr/bin/env python3
"""Every #include "..." of src/ is allowed by src/LAYERS, and every header compiles alone.

Prints each violation as FILE:LINE and a last line "N passed, N failed".
"""
import os
import re
import subprocess
import sys

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
src = os.path.join(root, "src")


def layers():
    allowed = {}
    for line in open(os.path.join(src, "LAYERS")):
        line = line.split("#")[0].strip()
        if line:
            folder, _, below = line.partition(":")
            allowed[folder.strip()] = set(below.split())
    return allowed


def folder_of(path, known):
    """The longest known folder that the path lies in."""
    while path and path not in known:
        path = os.path.dirname(path)
    return path


def sources():
    for top, _, names in os.walk(src):
        for name in sorted(names):
            if name.endswith((".c", ".h", ".def")):
                yield os.path.relpath(os.path.join(top, name), src)


def includes(user, header):
    text = open(os.path.join(src, user), errors="replace").read()
    beside = os.path.dirname(user) == os.path.dirname(header) and '#include "%s"' % os.path.basename(header) in text
    return beside or '#include "%s"' % header in text


def is_test(path):
    """A unit test, or a header that only unit tests include."""
    if path.endswith(".c"):
        return path.endswith("_test.c")
    users = [p for p in sources() if includes(p, path)]
    return bool(users) and all(p.endswith("_test.c") for p in users)


def check_includes(path, allowed):
    bad = 0
    mine = folder_of(os.path.dirname(path), allowed)
    if not mine:
        print(f"src/{path}: its folder is not in src/LAYERS")
        return 1
    # A unit test may use the simulator's parts: it is not part of the product.
    extra = {"sim"} if is_test(path) else set()
    for number, line in enumerate(open(os.path.join(src, path), errors="replace"), 1):
        found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not found:
            continue
        if os.path.exists(os.path.join(src, os.path.dirname(path), found.group(1))):
            continue  # beside it
        target = folder_of(os.path.dirname(found.group(1)), allowed)
        if target != mine and target not in allowed[mine] | extra:
            print(f"src/{path}:{number}: {mine} may not include {found.group(1)}")
            bad += 1
    return bad


def compiles_alone(path, build):
    command = ["cc", "-std=gnu17", "-D_GNU_SOURCE", '-DHAWSER_VERSION="0"', "-fsyntax-only", "-I", src,
               "-I", os.path.join(build, "gen"), "-x", "c", os.path.join(src, path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"src/{path} does not compile alone:\n{done.stderr[:600]}")
    return done.returncode == 0


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else os.path.join(root, "build")
    allowed = layers()
    passed = failed = 0
    for path in sources():
        ok = check_includes(path, allowed) == 0
        if path.endswith(".h"):
            ok = compiles_alone(path, build) and ok
        passed, failed = passed + ok, failed + (not ok)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
