#!/usr/bin/env python3
"""Compare kafka.schema with the message definitions inside a kafka-clients jar.

    tests/schema/kafka_check.py path/to/kafka-clients-4.4.0.jar [src/protocols/kafka/kafka.schema]

Every message of the schema is looked up in the jar's common/message/*.json and compared field by field: names (in snake
case), order, types, versions, nullable versions, tags, defaults, ignorable, and the versions and first flexible version of
the message; then the table of APIs: keys, and that nothing is offered that the jar does not know.
Prints every difference, and at the end what was compared; exit status 1 if anything differs.
"""
import json
import pathlib
import re
import sys
import zipfile

EVER = 32767
# Differences that are meant.  Produce: 0-2 are advertised for old librdkafka, though refused (KAFKA-18659).
OFFERED_BEYOND = {("Produce", 0)}


# ---- versions ----

def versions(text):
    """'3', '3+' or '3-7' as (first, last)."""
    first, plus, last = re.fullmatch(r"(\d+)(?:(\+)|-(\d+))?", text).groups()
    return int(first), EVER if plus else int(last or first)


def clip(span, to):
    """The part of `span` within `to`, or None."""
    low, high = max(span[0], to[0]), min(span[1], to[1])
    return (low, high) if low <= high else None


# ---- our notation ----

class Field:
    def __init__(self, name, type, **parts):
        self.name, self.type = name, type
        self.span = parts.get("span", (0, EVER))
        self.nullable = parts.get("nullable")
        self.default = parts.get("default")
        self.tag = parts.get("tag")
        self.ignorable = parts.get("ignorable", False)
        self.plain = parts.get("plain", False)
        self.fields = parts.get("fields")       # None: no structure, or described before


class Schema:
    """The kafka dialect, read without help from the compiler."""

    def __init__(self, path):
        self.words = []
        for line in pathlib.Path(path).read_text().splitlines():
            self.words += re.findall(r"[A-Za-z0-9_+.\[\]-]+|[{};]", line.split("#")[0]) + [";"]
        self.at = 0
        self.messages, self.apis = {}, {}
        while self.skip_ends():
            getattr(self, "read_" + self.take())()

    def peek(self):
        return self.words[self.at] if self.at < len(self.words) else None

    def take(self):
        self.at += 1
        return self.words[self.at - 1]

    def skip_ends(self):
        while self.peek() == ";":
            self.at += 1
        return self.peek()

    def read_dialect(self):
        assert self.take() == "kafka"

    def read_message(self):
        name, span, flexible = self.take(), None, None
        while self.peek() != "{":
            word = self.take()
            if word == "versions":
                span = versions(self.take())
            elif word == "flexible":
                flexible = int(self.take())
        self.messages[name] = (span, flexible, self.read_fields())

    def read_fields(self):
        assert self.take() == "{"
        fields = []
        while self.skip_ends() != "}":
            fields.append(self.read_field())
        self.take()
        return fields

    def read_field(self):
        f = Field(self.take(), self.take())
        if re.match(r"\d", self.peek()):
            f.span = versions(self.take())
        while self.peek() not in (";", "{", "}"):
            word = self.take()
            if word == "nullable":
                f.nullable = versions(self.take()) if re.match(r"\d", self.peek()) else f.span
            elif word in ("default", "tag"):
                setattr(f, word, self.take())
            else:
                setattr(f, word, True)
        if self.peek() == "{":
            f.fields = self.read_fields()
        return f

    def read_api(self):
        key, name, request, response = (self.take() for _ in range(4))
        assert self.take() == "serve"
        self.apis[name] = (int(key), request, response, versions(self.take()))


# ---- Kafka's definitions ----

def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().replace("enable2_pc", "enable_2pc")


def load(jar, name):
    text = jar.read(f"common/message/{name}.json").decode()
    return json.loads(re.sub(r"(?m)(^|\s)//.*$", "", text))


def kafka_field(j, common):
    name = j["type"].removeprefix("[]")
    structure = name[0].isupper()
    default = str(j.get("default", "")).lower()
    return Field(
        snake(j["name"]), j["type"], span=versions(j["versions"]),
        nullable=versions(j["nullableVersions"]) if "nullableVersions" in j else None,
        default=None if default in ("", "0", "false") else default,
        tag=str(j["tag"]) if "tag" in j else None,
        ignorable=str(j.get("ignorable", False)).lower() == "true",
        plain=j.get("flexibleVersions") == "none",
        fields=[kafka_field(c, common) for c in j.get("fields") or common[name]] if structure else None)


# ---- comparing ----

class Check:
    def __init__(self, jar, schema):
        self.jar, self.schema = jar, schema
        self.differences = self.fields = 0

    def differs(self, where, what, ours, theirs):
        if ours != theirs:
            self.differences += 1
            print(f"{where}: {what} is {ours}, in Kafka {theirs}")

    def field(self, where, ours, theirs, span, known):
        self.fields += 1
        where = f"{where}.{ours.name}"
        self.differs(where, "array", ours.type.startswith("[]"), theirs.type.startswith("[]"))
        if theirs.fields is None:
            self.differs(where, "type", ours.type, theirs.type)
        self.differs(where, "versions", clip(ours.span, span), clip(theirs.span, span))
        for part in ("tag", "default", "ignorable", "plain"):
            self.differs(where, part, getattr(ours, part), getattr(theirs, part))
        here = clip(theirs.span, span)
        self.differs(where, "nullable", ours.nullable and clip(ours.nullable, here),
                     theirs.nullable and clip(theirs.nullable, here))
        if theirs.fields is not None:
            if ours.fields is not None:
                known[ours.type.removeprefix("[]")] = ours.fields
            self.structure(where, known.get(ours.type.removeprefix("[]"), []), theirs.fields, span, known)

    def structure(self, where, ours, theirs, span, known):
        theirs = [f for f in theirs if clip(f.span, span)]
        for tagged in (False, True):
            self.differs(where, "order of tagged fields" if tagged else "order of fields",
                         [f.name for f in sorted(ours, key=lambda f: int(f.tag or 0)) if (f.tag is not None) == tagged],
                         [f.name for f in sorted(theirs, key=lambda f: int(f.tag or 0)) if (f.tag is not None) == tagged])
        by_name = {f.name: f for f in theirs}
        for f in ours:
            if f.name in by_name:
                self.field(where, f, by_name[f.name], span, known)

    def message(self, name):
        span, flexible, fields = self.schema.messages[name]
        theirs = load(self.jar, name)
        common = {c["name"]: c["fields"] for c in theirs.get("commonStructs", [])}
        self.differs(name, "versions", span, versions(theirs["validVersions"]))
        first = theirs.get("flexibleVersions", "none")
        self.differs(name, "flexible", flexible, None if first == "none" else versions(first)[0])
        self.structure(name, fields, [kafka_field(f, common) for f in theirs["fields"]], span, {})

    def api(self, name):
        key, request, response, serve = self.schema.apis[name]
        theirs = load(self.jar, request)
        self.differs(name, "key", key, theirs["apiKey"])
        self.differs(name, "response's key", key, load(self.jar, response)["apiKey"])
        low, high = versions(theirs["validVersions"])
        if serve[1] > high or (serve[0] < low and (name, serve[0]) not in OFFERED_BEYOND):
            self.differs(name, "offer", serve, (low, high))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    root = pathlib.Path(__file__).resolve().parents[2]
    schema = Schema(sys.argv[2] if len(sys.argv) > 2 else root / "src/protocols/kafka/kafka.schema")
    check = Check(zipfile.ZipFile(sys.argv[1]), schema)
    for name in schema.messages:
        check.message(name)
    for name in schema.apis:
        check.api(name)
    print(f"{len(schema.messages)} messages, {check.fields} fields, {len(schema.apis)} APIs: {check.differences} differences")
    return check.differences != 0


if __name__ == "__main__":
    sys.exit(main())
