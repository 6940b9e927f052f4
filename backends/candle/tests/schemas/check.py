"""Has what the engine writes under JSON schemas checked by other validators.

    python check.py suite jsonschema-X.tar.gz > schemas.jsonl   # the JSON Schema Test Suite
    python check.py tools tools.json > schemas.jsonl            # our own
    cargo test -p kwaainet-candle --lib grammar::tests::walks -- --ignored --nocapture \
        < schemas.jsonl > walks.jsonl
    python check.py check schemas.jsonl walks.jsonl

`make schemas` does all of it. For every schema: either it was refused, or all texts that random walks
through the masks ended are valid by `jsonschema`, with formats asserted and numbers exact.
"""

import collections
import decimal
import json
import re
import sys
import tarfile

import jsonschema
import jsonschema._keywords
import jsonschema._utils
import regex
from jsonschema import validators

# Knows what ECMA-262 says of Unicode, which the standard library's does not.
jsonschema._keywords.re = jsonschema._utils.re = regex


def suite(archive, drafts=("draft4", "draft6", "draft7", "draft2019-09", "draft2020-12")):
    dialect = {
        "draft4": "http://json-schema.org/draft-04/schema#",
        "draft6": "http://json-schema.org/draft-06/schema#",
        "draft7": "http://json-schema.org/draft-07/schema#",
        "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
        "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
    }
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda m: m.name):
            parts = member.name.split("/json/tests/")
            if len(parts) != 2 or not parts[1].endswith(".json"):
                continue
            draft, _, rest = parts[1].partition("/")
            if draft not in drafts:
                continue
            for case in json.load(tar.extractfile(member)):
                schema = case["schema"]
                if isinstance(schema, dict):
                    schema.setdefault("$schema", dialect[draft])
                yield {"name": f"{draft}/{rest}: {case['description']}", "schema": schema}


def tools(path):
    with open(path) as file:
        for name, schema in json.load(file).items():
            yield {"name": name, "schema": schema}


def folder(archive):
    """All schemas of a wheel, for a look at what people write."""
    import zipfile

    with zipfile.ZipFile(archive) as wheel:
        for name in sorted(wheel.namelist()):
            if "/jsondata/" in name and wheel.getinfo(name).file_size < 250_000:
                try:
                    schema = json.loads(wheel.read(name))
                except ValueError:
                    continue
                if isinstance(schema, dict):
                    yield {"name": name, "schema": schema}


def check(schemas, walks):
    with open(schemas) as file:
        cases = [json.loads(line, parse_float=decimal.Decimal) for line in file]
    results = {}
    with open(walks) as file:
        for line in file:
            # The test runner says something too.
            start = line.find('{"')
            if start >= 0:
                result = json.loads(line[start:])
                results[result["number"]] = result
    if len(results) != len(cases):
        sys.exit(f"{len(cases)} schemas, but {len(results)} results")
    counts, refusals, wrong = collections.Counter(), collections.Counter(), []
    for number, case in enumerate(cases):
        result = results[number]
        if "refused" in result:
            counts["refused"] += 1
            reason = result["refused"]
            keyword = re.search(r"keyword '([^']*)'", reason)
            refusals[keyword.group(1) if keyword else reason[:90]] += 1
            continue
        counts["enforced"] += 1
        schema = case["schema"]
        kind = validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        validator = kind(schema, format_checker=kind.FORMAT_CHECKER)
        for walk in result["walks"]:
            if "fault" in walk:
                wrong.append((case["name"], "the grammar led nowhere", ""))
                continue
            if not walk["ended"]:
                counts["texts cut off"] += 1
                continue
            counts["texts"] += 1
            try:
                value = json.loads(walk["text"], parse_float=decimal.Decimal)
                error = next(validator.iter_errors(value), None)
            except Exception as broken:  # a text that does not parse, or a schema that is not one
                error = broken
            if error is not None:
                wrong.append((case["name"], walk["text"][:300], str(error)[:300]))
    total = len(cases)
    for name, text, error in wrong[:40]:
        print(f"WRONG {name}\n    {text}\n    {error}", file=sys.stderr)
    for reason, count in refusals.most_common(40):
        print(f"{count:5}  {reason}")
    print(f"{total} schemas: {dict(counts)}; {len(wrong)} wrong")
    print(f"refused: {100 * counts['refused'] / total:.1f} %")
    return 1 if wrong else 0


def main():
    command, *files = sys.argv[1:]
    if command == "check":
        sys.exit(check(*files))
    for case in {"suite": suite, "tools": tools, "folder": folder}[command](*files):
        print(json.dumps(case))


if __name__ == "__main__":
    main()
