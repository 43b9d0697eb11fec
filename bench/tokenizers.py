#!/usr/bin/env python3
"""How fast texts become tokens: quern beside llama.cpp and Hugging Face tokenizers, one thread each.

    bench/tokenizers.py VOCABULARY.gguf[=TOKENIZER.json]... [--text NAME=FILE]... [--rounds 5] [--json FILE]

Each text is tokenized as a whole by each engine, one after the other, in the other order in every second round;
figures are the medians of the rounds, each of which is the best of several runs. Without --text three texts of
1 MB are used: English prose and code made of this project's own pages and sources, and CJK made of the characters
of the vocabulary that stand for one. llama.cpp is driven through llama-cpp-python where that can be imported,
Hugging Face tokenizers where it can be imported and TOKENIZER.json is given. The ids of all engines are compared:
a rival that gives others is marked, since that work is not the same.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The package tokenizers has the name of this file, so it must not be looked for here.
sys.path[:] = [path for path in sys.path if pathlib.Path(path).resolve() != ROOT / "bench"]
SIZE = 1_000_000
RUNS = 3


def own_texts():
    def joined(patterns):
        pages = [path.read_text(encoding="utf-8", errors="replace")
                 for pattern in patterns for path in sorted(ROOT.glob(pattern))]
        text = "\n".join(pages)
        return (text * (SIZE // max(1, len(text)) + 1)).encode()[:SIZE].decode(errors="ignore")

    common = [chr(c) for c in range(0x4E00, 0x9FA5)]
    state, cjk = 12345, []
    while len(cjk) < SIZE // 3:  # a fixed sequence: frequent characters often, a mark now and then
        state = (state * 1103515245 + 12345) % (1 << 31)
        cjk.append("，" if state % 17 == 0 else "。\n" if state % 97 == 0 else common[(state >> 8) ** 2 // (1 << 26) % len(common)])
    return {"English prose": joined(["*.md", "docs/*.md", "src/*/README.md"]), "C": joined(["src/*/*.c"]), "CJK": "".join(cjk)}


def best_seconds(work):
    best, result = float("inf"), None
    for _ in range(RUNS):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return best, result


class Quern:
    name = "quern"

    def __init__(self, program, vocabulary, _):
        self.command = [program, "tokenize", vocabulary, "--no-bos", "--no-parse-special"]

    def _run(self, text, *options):
        return subprocess.run(self.command + list(options), input=text, capture_output=True, text=True, check=True).stdout

    def measure(self, text):
        return json.loads(self._run(text, "--json", "--time"))["seconds"]

    def ids(self, text):
        return json.loads(self._run(text, "--json"))["ids"]


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, _, vocabulary, __):
        import ctypes

        import llama_cpp

        self.llama, self.silent = llama_cpp, llama_cpp.llama_log_callback(lambda level, line, user: None)
        llama_cpp.llama_log_set(self.silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self.model = llama_cpp.llama_model_load_from_file(vocabulary.encode(), params)
        if not self.model:
            raise RuntimeError("llama.cpp cannot load it")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)

    def _tokenize(self, text):
        tokens = (self.llama.llama_token * (len(text) + 16))()
        n = self.llama.llama_tokenize(self.vocab, text, len(text), tokens, len(tokens), False, False)
        return tokens, n

    def measure(self, text):
        encoded = text.encode()
        return best_seconds(lambda: self._tokenize(encoded))[0]

    def ids(self, text):
        tokens, n = self._tokenize(text.encode())
        return list(tokens[:n])


class HuggingFace:
    name = "tokenizers"

    def __init__(self, _, __, tokenizer):
        import os

        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        from tokenizers import Tokenizer

        if tokenizer is None:
            raise RuntimeError("no TOKENIZER.json was given")
        self.tokenizer = Tokenizer.from_file(tokenizer)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def measure(self, text):
        return best_seconds(lambda: self.tokenizer.encode(text, add_special_tokens=False))[0]

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids


def engines_for(args, vocabulary, tokenizer):
    engines = []
    for engine in (Quern, LlamaCpp, HuggingFace):
        try:
            engines.append(engine(args.quern, vocabulary, tokenizer))
        except Exception as error:  # the others go on
            print(f"{vocabulary}: {engine.name} is left out: {error or type(error).__name__}", file=sys.stderr)
    return engines


def measure(engines, text, rounds):
    seconds = {engine.name: [] for engine in engines}
    for i in range(rounds):
        for engine in engines if i % 2 == 0 else reversed(engines):
            seconds[engine.name].append(engine.measure(text))
    wanted = engines[0].ids(text)
    n_bytes = len(text.encode())
    return {engine.name: {"mb_per_second": n_bytes / 1e6 / statistics.median(seconds[engine.name]),
                          "ratio": statistics.median(b / a for a, b in zip(seconds[engines[0].name], seconds[engine.name])),
                          "same_ids": engine.ids(text) == wanted}
            for engine in engines}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocabularies", nargs="+", metavar="VOCABULARY[=TOKENIZER]")
    parser.add_argument("--text", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quern", default=str(ROOT / "quern"))
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    texts = own_texts()
    if args.text:
        texts = {name: pathlib.Path(path).read_text(encoding="utf-8") for name, _, path in (t.partition("=") for t in args.text)}
    report = []
    print("| vocabulary | text | quern, MB/s | llama.cpp | ratio | tokenizers | ratio |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for given in args.vocabularies:
        vocabulary, _, tokenizer = given.partition("=")
        engines = engines_for(args, vocabulary, tokenizer or None)
        if not engines or engines[0].name != "quern":
            sys.exit("there is no quern to measure (make, or --quern PATH)")
        for name, text in texts.items():
            figures = measure(engines, text, args.rounds)
            report.append({"vocabulary": pathlib.Path(vocabulary).stem, "text": name, "figures": figures})
            cells = [pathlib.Path(vocabulary).stem.removeprefix("ggml-vocab-"), name, f"{figures['quern']['mb_per_second']:.1f}"]
            for rival in ("llama.cpp", "tokenizers"):
                f = figures.get(rival)
                cells += ["–", "–"] if f is None else [f"{f['mb_per_second']:.2f}", f"**{f['ratio']:.1f}**" + ("" if f["same_ids"] else " (other ids)")]
            print("| " + " | ".join(cells) + " |", flush=True)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
