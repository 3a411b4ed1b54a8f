#!/usr/bin/env python3
"""Does schemac say what is wrong with a schema, and where?    tests/schema/schemac_check.py build/src/schemac"""
import pathlib
import subprocess
import sys
import tempfile

# (schema, line of the error, part of its text); line 0: it is a good one.
ROWS = [
    ("dialect kafka\nmessage A versions 0-3 {\n\tx int32; y []B { z string }\n\tw []B\n}\n", 0, ""),
    ("dialect kafka\nmessage A versions 0-3 flexible 2 { x int32 2+ tag 0 default -1 } # fine\n", 0, ""),
    ("dialect amqp\nmessage A class 1 method 2 { a bit; b table }\nproperties P class 1 { x octet }\n", 0, ""),
    ("dialect aws\nstruct S { A string }\nmessage M { Xs map[S] query X entry K V; Y []string }\napi Do M -\n", 0, ""),
    ("message A versions 0 {}\n", 1, "a schema begins with"),
    ("dialect cobol\n", 1, "no dialect 'cobol'"),
    ("dialect kafka\nmessage A versions 0+ {}\n", 2, "says its last version"),
    ("dialect kafka\nmessage A versions 3-1 {}\n", 2, "expected versions"),
    ("dialect kafka\nmessage A versions 0 {\n\tx int33\n}\n", 3, "no type 'int33'"),
    ("dialect kafka\nmessage A versions 0 {\n\tx int32\n\n\tx int32\n}\n", 5, "x is there already (line 3)"),
    ("dialect kafka\nmessage A versions 0 {\n\tx int32 1+\n}\n", 3, "no version of A has it"),
    ("dialect kafka\nmessage A versions 0 {\n\tx int32 nullable\n}\n", 3, "a number is never null"),
    ("dialect kafka\nmessage A versions 0 {\n\tx string default null\n}\n", 3, "not nullable"),
    ("dialect kafka\nmessage A versions 0 {\n\tx string default 7\n}\n", 3, "is empty or null"),
    ("dialect kafka\nmessage A versions 0 {\n\tx int32 default seven\n}\n", 3, "expected a number"),
    ("dialect kafka\nmessage A versions 0 {\n\tx int32 tag 0\n}\n", 3, "no flexible version"),
    ("dialect kafka\nmessage A versions 0 flexible 0 {\n\tx int32 tag 1\n\ty int32 tag 1\n}\n", 4, "tags ascend"),
    ("dialect kafka\nmessage A versions 0 flexible 0 {\n\tx int32 tag 32\n}\n", 3, "0 to 31"),
    ("dialect kafka\nmessage A versions 0 flexible 0 {\n\tx records tag 1\n}\n", 3, "never tagged"),
    ("dialect kafka\nmessage A versions 0 {\n\tx []B { y int8 }\n\tz []B { y int8 }\n}\n", 4, "described already"),
    ("dialect kafka\nmessage A versions 0 {\n\tx int32 shiny\n}\n", 3, "no attribute 'shiny'"),
    ("dialect kafka\nmessage A versions 0 {\n\tx int32\n", 4, "found 'end of file'"),
    ("dialect kafka\nmessage A versions 0 { x int32 } }\n", 2, "expected the end of the line"),
    ("dialect kafka\nmessage A versions 0 {}\nmessage A versions 0 {}\n", 3, "exists already"),
    ("dialect kafka\nmessage A versions 0 {}\napi 0 Do A B\n", 3, "no message 'B'"),
    ("dialect kafka\nmessage A versions 0 {}\napi 0 Do A A serve 0-1\n", 3, "no version 1"),
    ("dialect kafka\nmessage A versions 0 {}\napi 0 Do A A\napi 0 Be A A\n", 4, "there already"),
    ("dialect kafka\n$\n", 2, "unexpected character"),
    ("dialect kafka\nmessage A versions 0 { x map[string] }\n", 2, "only the aws dialect has maps"),
    ("dialect kafka\nstruct A { x int8 }\n", 2, "only the aws dialect has shared"),
    ("dialect amqp\nmessage A class 1 method 2 { a []octet }\n", 2, "no arrays"),
    ("dialect amqp\nmessage A class 1 method 2 { a int32 }\n", 2, "no type 'int32'"),
    ("dialect amqp\nmessage A class 1 method 2 {}\nmessage B class 1 method 2 {}\n", 3, "the same id"),
    ("dialect aws\nmessage A { X map[integer] }\n", 2, "holds strings or structures"),
]


def main():
    schemac, wrong = sys.argv[1], 0
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "t.schema")
        for schema, line, text in ROWS:
            path.write_text(schema)
            done = subprocess.run([schemac, path, "t.gen.h", f"{folder}/t.h", f"{folder}/t.c"],
                                  capture_output=True, text=True)
            good = done.returncode == 0 and not done.stderr if line == 0 else \
                done.returncode == 1 and done.stderr.startswith(f"{path}:{line}: error: ") and text in done.stderr
            if not good:
                wrong += 1
                print(f"{schema!r}\n  expected line {line} {text!r}\n  got {done.returncode} {done.stderr!r}")
    print(f"{len(ROWS) - wrong} passed, {wrong} failed")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
