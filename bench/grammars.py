#!/usr/bin/env python3
"""The cost of binding a model to a JSON Schema: quern beside LLGuidance and llama.cpp.

    bench/grammars.py MODEL.gguf [--tokenizer tokenizer.json] [--quern ./quern] [--rounds 5] [--json FILE]

For each schema of bench/schemas and its example text: the time to compile the schema, and for each token of the
text the time until the mask of allowed tokens is known. Every engine starts afresh for each schema and round; of
the rounds the median is taken for each token, then median, 99th percentile and maximum over all tokens. LLGuidance
(package llguidance; it needs the model's tokenizer.json, which bench/tokenizer_json.py makes for some) and llama.cpp
(package llama-cpp-python) are measured where Python finds them; llama.cpp knows no mask, so its time is that of
applying the grammar to all logits.
"""
import argparse
import ctypes
import json
import math
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


class Quern:
    name = "quern"

    def __init__(self, arguments):
        self.program, self.model = arguments.quern, arguments.model

    def tokens(self, text):
        reply = subprocess.run([self.program, "tokenize", self.model, "--json", "--no-bos", text],
                               capture_output=True, check=True).stdout
        return json.loads(reply)["ids"]

    def measure(self, schema_path, text, tokens):
        del tokens
        reply = subprocess.run([self.program, "grammar", "--schema", str(schema_path), "--model", self.model, "--json",
                                "--each", text], capture_output=True, check=True).stdout
        report = json.loads(reply)
        if not report["accept"]:
            raise RuntimeError("rejects the example")
        return report["compile_ms"], report["mask_us"]


class LLGuidance:
    name = "LLGuidance"

    def __init__(self, path):
        import llguidance
        import llguidance.numpy
        self.lib, self.numpy = llguidance, llguidance.numpy
        description = json.loads(path.read_text())
        description["decoder"] = description.get("decoder") or {
            "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
        self.tokenizer = llguidance.LLTokenizer(json.dumps(description))
        self.mask = self.numpy.allocate_token_bitmask(1, self.tokenizer.vocab_size)

    def measure(self, schema_path, text, tokens):
        del text
        start = time.perf_counter()
        matcher = self.lib.LLMatcher(self.tokenizer, self.lib.LLMatcher.grammar_from_json_schema(schema_path.read_text()))
        compile_ms = (time.perf_counter() - start) * 1e3
        times = []
        for token in [*tokens, None]:
            start = time.perf_counter()
            self.numpy.fill_next_token_bitmask(matcher, self.mask, 0)
            times.append((time.perf_counter() - start) * 1e6)
            if token is not None and not matcher.consume_token(token):
                raise RuntimeError(f"rejects the example: {matcher.get_error()}")
        return compile_ms, times


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, model):
        import llama_cpp
        self.lib = llama_cpp
        self.silent = llama_cpp.llama_log_callback(lambda *_: None)  # kept: llama.cpp goes on calling it
        llama_cpp.llama_log_set(self.silent, ctypes.c_void_p(0))
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = True
        self.model = llama_cpp.llama_model_load_from_file(model.encode(), parameters)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)

    def measure(self, schema_path, text, tokens):
        del text
        lib, n = self.lib, self.n_vocab
        start = time.perf_counter()
        grammar = lib.LlamaGrammar.from_json_schema(schema_path.read_text(), verbose=False)
        sampler = lib.llama_sampler_init_grammar(self.vocab, grammar._grammar.encode(), b"root")
        compile_ms = (time.perf_counter() - start) * 1e3
        if not sampler:
            raise RuntimeError("refuses the schema")
        fresh, data = (lib.llama_token_data * n)(), (lib.llama_token_data * n)()
        for i in range(n):
            fresh[i].id = i
        times = []
        for token in [*tokens, None]:
            ctypes.memmove(data, fresh, ctypes.sizeof(fresh))
            candidates = lib.llama_token_data_array(data=data, size=n, selected=-1, sorted=False)
            start = time.perf_counter()
            lib.llama_sampler_apply(sampler, ctypes.byref(candidates))
            times.append((time.perf_counter() - start) * 1e6)
            if token is None:
                break
            if data[token].logit == -math.inf:  # to accept it would end the process
                raise RuntimeError("rejects the example")
            lib.llama_sampler_accept(sampler, token)
        lib.llama_sampler_free(sampler)
        return compile_ms, times


def open_engines(arguments):
    quern = Quern(arguments)
    engines = [quern]
    try:
        if arguments.tokenizer:
            engines.append(LLGuidance(arguments.tokenizer))
    except ImportError:
        print("LLGuidance: the package llguidance is not installed", file=sys.stderr)
    try:
        engines.append(LlamaCpp(arguments.model))
    except ImportError:
        print("llama.cpp: the package llama-cpp-python is not installed", file=sys.stderr)
    return engines


def measure(engine, cases, rounds):
    """Per schema (compile_ms, [mask_us of each token]), each the median of the rounds; or why not."""
    result = {}
    for name, path, text, tokens in cases:
        try:
            runs = [engine.measure(path, text, tokens) for _ in range(rounds)]
            result[name] = (statistics.median(r[0] for r in runs),
                            [statistics.median(column) for column in zip(*(r[1] for r in runs))])
        except (RuntimeError, ValueError, LookupError, subprocess.CalledProcessError) as error:
            result[name] = str(error).splitlines()[0]
    return result


def summary(result):
    rows = [r for r in result.values() if not isinstance(r, str)]
    times = sorted(t for _, row in rows for t in row)
    ordinary = [r[0] for name, r in result.items() if not isinstance(r, str) and name != "wide"]
    wide = result.get("wide")
    return {"schemas": len(rows), "compile_ms_median": statistics.median(ordinary), "compile_ms_max": max(ordinary),
            "compile_ms_wide": wide[0] if wide and not isinstance(wide, str) else None, "masks": len(times),
            "mask_us_median": times[len(times) // 2], "mask_us_p99": times[len(times) * 99 // 100],
            "mask_us_max": times[-1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--quern", default="./quern")
    parser.add_argument("--tokenizer", type=pathlib.Path, help="the same vocabulary as a tokenizer.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path, help="write all figures there")
    arguments = parser.parse_args()
    engines = open_engines(arguments)
    cases = []
    for line in (HERE / "schemas" / "examples.jsonl").read_text().splitlines():
        row = json.loads(line)
        text = json.dumps(row["value"], ensure_ascii=False)
        cases.append((row["schema"], HERE / "schemas" / f"{row['schema']}.json", text, engines[0].tokens(text)))
    report = {}
    print("| engine | schemas | compile, median | compile, 100 properties | mask, median | p99 | maximum |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for engine in engines:
        rounds = arguments.rounds if engine.name != "llama.cpp" else 1
        result = measure(engine, cases, rounds)
        s = report[engine.name] = summary(result)
        wide = f"{s['compile_ms_wide']:.2f} ms" if s["compile_ms_wide"] is not None else "fails"
        print(f"| {engine.name} | {s['schemas']} of {len(cases)} | {s['compile_ms_median']:.2f} ms | {wide} | "
              f"{s['mask_us_median']:.1f} us | {s['mask_us_p99']:.0f} us | {s['mask_us_max']:.0f} us |", flush=True)
        for name, row in result.items():
            if isinstance(row, str):
                print(f"{engine.name}, {name}: {row}", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
