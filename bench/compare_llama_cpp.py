#!/usr/bin/env python3
"""Speed of quern beside llama.cpp, on the same model, machine and number of threads.

    bench/compare_llama_cpp.py MODEL.gguf [--prompt 512] [--gen 128] [--threads 2] [--rounds 5]

The two run alternately, each round in the other order, so that a machine that gets slower or busier
falls on both alike; ratios are taken round by round. llama.cpp is driven through its C interface in
llama-cpp-python, token batches directly, after a warm-up. For a fair rival compile it for this machine:

    CMAKE_ARGS=-DGGML_NATIVE=ON python3 -m pip install --no-binary llama-cpp-python llama-cpp-python

Figures that are quoted name the processor, the date and both versions; the first lines print them.
"""
import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def processor():
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def quern_round(args):
    command = [args.quern, "bench", args.model, "--prompt", str(args.prompt), "--gen", str(args.gen),
               "--threads", str(args.threads), "--reps", "1", "--json"]
    rows = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return {row["test"]: row["tokens_per_second"] for row in rows if "tokens_per_second" in row}


def llama_round(args):
    command = [sys.executable, __file__, args.model, "--prompt", str(args.prompt), "--gen", str(args.gen),
               "--threads", str(args.threads), "--only-llama-cpp"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure_llama_cpp(args):
    """One round in this process; prints {"promptN": tokens/s, "genN": tokens/s}."""
    import ctypes

    import llama_cpp as llama

    silent = llama.llama_log_callback(lambda level, line, user: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    llama.llama_backend_init()
    model_params = llama.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(args.model.encode(), model_params)
    if not model:
        sys.exit(f"llama.cpp cannot load {args.model}")
    params = llama.llama_context_default_params()
    params.n_ctx = args.prompt + args.gen + 16
    params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = args.threads
    context = llama.llama_init_from_model(model, params)
    n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))

    def feed(n_tokens, batch):
        """Seconds for n_tokens from an empty cache, batch at a time."""
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        ids = [(1000 + 37 * i) % n_vocab for i in range(n_tokens)]
        start = time.perf_counter()
        for begin in range(0, n_tokens, batch):
            part = ids[begin : begin + batch]
            array = (llama.llama_token * len(part))(*part)
            if llama.llama_decode(context, llama.llama_batch_get_one(array, len(part))) != 0:
                sys.exit("llama.cpp: llama_decode failed")
        llama.llama_synchronize(context)
        return time.perf_counter() - start

    speed = {}
    for name, n_tokens, batch in (("prompt", args.prompt, 512), ("gen", args.gen, 1)):
        if n_tokens > 0:
            feed(min(n_tokens, 32), batch)
            speed[f"{name}{n_tokens}"] = n_tokens / feed(n_tokens, batch)
    print(json.dumps(speed))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="path of a GGUF file")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--gen", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quern", default=str(ROOT / "quern"))
    parser.add_argument("--only-llama-cpp", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only_llama_cpp:
        return measure_llama_cpp(args)

    try:
        from importlib.metadata import version
        rival = "llama-cpp-python " + version("llama-cpp-python")
    except Exception:
        sys.exit("llama-cpp-python is not installed (see --help)")
    ours = subprocess.run([args.quern, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")[0]
    print(f"{processor()}, {args.threads} threads, {time.strftime('%Y-%m-%d')}: {ours} and {rival}")

    rounds = []
    for i in range(args.rounds):
        if i % 2 == 0:
            a = quern_round(args)
            b = llama_round(args)
        else:
            b = llama_round(args)
            a = quern_round(args)
        rounds.append((a, b))
    print(f"{'test':12} {'quern t/s':>12} {'llama.cpp t/s':>14} {'ratio':>7}  least .. greatest")
    for test in rounds[0][0]:
        if all(test in a and test in b for a, b in rounds):
            mine = [a[test] for a, _ in rounds]
            theirs = [b[test] for _, b in rounds]
            ratios = [x / y for x, y in zip(mine, theirs)]
            print(f"{test:12} {statistics.median(mine):12.2f} {statistics.median(theirs):14.2f} "
                  f"{statistics.median(ratios):7.3f}  {min(ratios):.3f} .. {max(ratios):.3f}")


if __name__ == "__main__":
    main()
