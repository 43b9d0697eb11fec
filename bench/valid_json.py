#!/usr/bin/env python3
"""Answers of a real model under JSON Schemas: counts how many are valid.

    bench/valid_json.py MODEL [--quern ./quern] [--samples 20] [--temperature 1.5] [--tokens 256] [SCHEMA ...]

For each schema (bench/schemas/*.json but for the widest, unless files are named) and each seed 1 to --samples it
runs `quern run MODEL --schema FILE` and reads the answer with Python's json module; where the package jsonschema
is installed, the answer is also held against the schema, formats included. Exit code 1 if one is not valid.
"""
import argparse
import json
import pathlib
import subprocess
import sys

try:
    import jsonschema
except ImportError:
    jsonschema = None

HERE = pathlib.Path(__file__).resolve().parent


def answer(arguments, schema, seed):
    """What quern prints for one seed."""
    command = [arguments.quern, "run", arguments.model, "--schema", str(schema), "--seed", str(seed),
               "--temp", str(arguments.temperature), "-n", str(arguments.tokens), "--top-k", "0", "--top-p", "1",
               "--min-p", "0", f"Make up an example of: {schema.stem.replace('_', ' ')}. Answer in JSON."]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout


def problem_of(text, schema):
    """Why an answer is not valid; None if it is."""
    try:
        value = json.loads(text)
    except ValueError as error:
        return f"no JSON: {error}"
    if jsonschema is None:
        return None
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    return next((error.message for error in checker.iter_errors(value)), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("schemas", nargs="*", type=pathlib.Path)
    parser.add_argument("--quern", default="./quern")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--temperature", type=float, default=1.5)
    parser.add_argument("--tokens", type=int, default=256)
    arguments = parser.parse_args()
    schemas = arguments.schemas or sorted(p for p in (HERE / "schemas").glob("*.json") if p.stem != "wide")
    n_valid = n_all = 0
    for path in schemas:
        schema = json.loads(path.read_text())
        n_here = 0
        for seed in range(1, arguments.samples + 1):
            text = answer(arguments, path, seed)
            problem = problem_of(text, schema)
            n_here += problem is None
            if problem is not None:
                print(f"{path.stem}, seed {seed}: {problem}: {text[:200]!r}", file=sys.stderr)
        print(f"{path.stem:16} {n_here} of {arguments.samples}", flush=True)
        n_valid, n_all = n_valid + n_here, n_all + arguments.samples
    held = "held against the schemas" if jsonschema else "read as JSON (jsonschema is not installed)"
    print(f"valid: {n_valid} of {n_all}, {held}")
    return n_valid != n_all


if __name__ == "__main__":
    sys.exit(main())
