#!/usr/bin/env python3
"""What the engine's batching, caches and guesses are worth: loads of `quern bench --trace`, in turns with and
without them.

    bench/engine.py MODEL [--draft SMALLER_MODEL] [--rounds 5] [--threads N] [--quern ./quern] [--json FILE]

- agents: 30 agents whose prompts share their first 2,000 tokens and have 50 of their own, at once, beside the same
  requests one after the other with nothing shared; and the longest gap of a stream of high priority that runs beside
  them.
- guesses: an answer with guesses and without, on texts that can be predicted (code that is edited, JSON records) and
  on others. With --draft a smaller model of the same vocabulary guesses as well (bench/deepen_model.py makes a pair).
- steps: what 16 running answers cost beside the model for each step.

Every number is the median of the rounds, with the least and the greatest.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

CODE = """int sum_of(const int *values, int count)
{
    int sum = 0;
    for (int i = 0; i < count; i++) sum += values[i];
    return sum;
}

int greatest_of(const int *values, int count)
{
    int greatest = values[0];
    for (int i = 1; i < count; i++)
        if (values[i] > greatest) greatest = values[i];
    return greatest;
}

int least_of(const int *values, int count)
{
    int least = values[0];
    for (int i = 1; i < count; i++)
        if (values[i] < least) least = values[i];
    return least;
}
"""
RECORDS = "\n".join(json.dumps({"id": i, "name": f"item {i}", "price": {"amount": 10 * i, "currency": "EUR"},
                                "tags": ["new", "offer"], "in_stock": True}) for i in range(1, 9)) + "\n"
TEXTS = {  # name: prompt, temperature, whether it can be predicted
    "code, edited": (f"The file before:\n```c\n{CODE}```\nThe same file, unchanged but for a comment:\n```c\n"
                     "/* numbers.c */\n", 0.0, True),
    "JSON records": (RECORDS, 0.0, True),
    "a story": ("<|im_start|>user\nTell me a story about a fox and a river.<|im_end|>\n<|im_start|>assistant\n", 0.8,
                False),
    "an explanation": ("<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n", 0.8, False),
    "free text": ("The history of the town begins", 1.0, False),
}


class Load:
    def __init__(self, arguments):
        self.arguments = arguments
        self.directory = tempfile.TemporaryDirectory()
        self.trace = pathlib.Path(self.directory.name) / "trace.jsonl"

    def run(self, jobs, *options):
        self.trace.write_text("\n".join(json.dumps(job) for job in jobs))
        a = self.arguments
        command = [a.quern, "bench", a.model, "--trace", str(self.trace), "-t", str(a.threads), "--json", *options]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def summary(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def in_turns(rounds, ways):
    """Each way once in every round; way: name -> function. Returns the results by name."""
    results = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            results[name].append(way())
    return results


def measure_agents(load, rounds):
    agents = [{"client": f"agent {i}", "prompt": 2050, "common": 2000, "gen": 32} for i in range(30)]
    stream = {"client": "person", "at": 0.0, "prompt": 64, "gen": 400, "priority": "interactive"}
    results = in_turns(rounds, {
        "at once": lambda: load.run(agents),
        "one by one": lambda: load.run(agents, "--slots", "1", "--apart", "--no-guesses"),
        "beside a stream": lambda: load.run([stream] + agents)})
    seconds = {name: [r["seconds"] for r in results[name]] for name in results}
    gains = [one / many for one, many in zip(seconds["one by one"], seconds["at once"])]
    gaps = [1e3 * r["priorities"]["interactive"]["gap_seconds"]["max"] for r in results["beside a stream"]]
    print(f"30 agents of 2,050 tokens, 2,000 of them alike, and 32 generated: {summary(seconds['at once'])} s at "
          f"once, {summary(seconds['one by one'])} s one by one: {summary(gains, 1)} times faster")
    print(f"longest gap of an interactive stream beside them: {summary(gaps, 0)} ms")
    return {"seconds": seconds, "gains": gains, "longest_gap_ms": gaps}


def measure_guesses(load, rounds, draft):
    found = {}
    for name, (text, temperature, is_predictable) in TEXTS.items():
        jobs = [{"client": "a", "text": text, "gen": 256, "temperature": temperature} for _ in range(2)]
        one = ("--slots", "1")
        ways = {"plain": lambda: load.run(jobs, *one, "--no-guesses"), "lookup": lambda: load.run(jobs, *one)}
        if draft is not None:
            ways["draft"] = lambda: load.run(jobs, *one, "--draft", draft)
        results = in_turns(rounds, ways)
        speeds = {way: [r["tokens_per_second"] for r in results[way]] for way in results}
        found[name] = {"predictable": is_predictable, "speeds": speeds}
        for way in ways:
            if way == "plain":
                continue
            gains = [x / y for x, y in zip(speeds[way], speeds["plain"])]
            last = results[way][-1]
            print(f"{name:16} {way:7} {summary(speeds[way], 1)} tokens/s, {summary(gains)} times; "
                  f"{last['guessed_right']} of {last['guessed']} guesses right")
    return found


def measure_steps(load, rounds):
    jobs = [{"client": f"client {i}", "prompt": 32, "gen": 256} for i in range(16)]
    results = [load.run(jobs) for _ in range(rounds)]
    spent = {part: [1e6 * r["time_seconds"][part] / r["steps"] for r in results] for part in results[0]["time_seconds"]}
    print("a step of 16 answers: " + ", ".join(f"{part} {summary(spent[part], 1)} us" for part in spent))
    return spent


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--draft")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--quern", default="./quern")
    p.add_argument("--only", choices=("agents", "guesses", "steps"))
    p.add_argument("--json")
    a = p.parse_args()
    load, found = Load(a), {}
    if a.only in (None, "agents"):
        found["agents"] = measure_agents(load, a.rounds)
    if a.only in (None, "guesses"):
        found["guesses"] = measure_guesses(load, a.rounds, a.draft)
    if a.only in (None, "steps"):
        found["steps"] = measure_steps(load, a.rounds)
    if a.json:
        pathlib.Path(a.json).write_text(json.dumps(found, indent=1))


main()
