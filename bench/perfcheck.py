#!/usr/bin/env python3
"""Count the instructions of kernels and of a small model, and compare with what is committed.

    bench/perfcheck.py BUILD [--update] [--only TEXT] [--tolerance PERCENT]

BUILD is a build directory. Every piece of work of tests/kernel/perf_cases.c runs once and twice under
valgrind --tool=callgrind; the difference is what doing it once costs. Unlike times, counts are the same again
on a busy machine, so a change of a few percent is a change of the code. They say nothing of caches.

Exit 1: something costs more than the tolerance allows. --update writes bench/perf_baseline.json anew, to be
committed with the change that explains it. Counts depend on the compiler: with another one than that of the
baseline, differences are shown but fail nothing.
"""
import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys

BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "perf_baseline.json")
ISA = "avx2"  # what valgrind knows


def instructions(program, name, times):
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, name, str(times)],
        env={**os.environ, "QUERN_ISA": ISA, "QUERN_PACK_CACHE": "off"}, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode != 0 or found is None:
        sys.exit(f"perfcheck: {name}: exit {run.returncode}: {run.stderr.strip().splitlines()[-1:]}")
    return int(found.group(1))


def count(program, name):
    return instructions(program, name, 2) - instructions(program, name, 1)


def compiler(build):
    info = subprocess.run([os.path.join(build, "src", "cli", "quern"), "--version"], capture_output=True, text=True)
    found = re.search(r"\b(gcc|clang) [\d.]+", info.stdout)
    return found.group(0) if found else "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--update", action="store_true", help="make the counts of this build the baseline")
    parser.add_argument("--only", default="", metavar="TEXT", help="pieces of work whose name has this in it")
    parser.add_argument("--tolerance", type=float, default=2.0, metavar="PERCENT")
    args = parser.parse_args()
    if args.update and args.only:
        parser.error("--update takes all pieces of work")
    program = os.path.join(args.build, "tests", "kernel", "perf_cases")
    names = [n for n in subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
             if args.only in n]
    with open(BASELINE, encoding="utf-8") as f:
        baseline = json.load(f)
    mine = compiler(args.build)
    worse = 0
    print(f"{'instructions for':32} {'now':>12} {'baseline':>12}  change")
    counts = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for name, now in zip(names, pool.map(lambda n: count(program, n), names)):
            counts[name] = now
            before = baseline["instructions"].get(name)
            change = 100.0 * (now - before) / before if before else 0.0
            is_worse = change > args.tolerance
            worse += is_worse
            print(f"{name:32} {now:12} {before if before else 'new':>12}  {change:+.1f} %{'  MORE' if is_worse else ''}",
                  flush=True)
    if args.update:
        with open(BASELINE, "w", encoding="utf-8") as f:
            json.dump({"compiler": mine, "instruction_set": ISA, "instructions": counts}, f, indent=2)
            f.write("\n")
        print(f"baseline written: {mine}")
        return 0
    if mine != baseline["compiler"]:
        print(f"compiled by {mine}, the baseline by {baseline['compiler']}: nothing to hold on to")
        return 0
    print(f"{worse} of {len(names)} cost more than {args.tolerance:g} % above the baseline")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
