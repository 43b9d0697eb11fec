#!/usr/bin/env python3
"""The table of docs/performance.md: quern beside llama.cpp and, where it is given, ik_llama.cpp.

    bench/compare.py MODEL.gguf[=LABEL]... [--threads 2] [--rounds 5] [--rows prompt512,gen128,...]
                     [--ik PATH/llama-bench] [--limits] [--json results.json] [--write docs/performance.md]
                     [--table NAME] [--machine "what it is"]
    bench/compare.py --join results.json... [--write docs/performance.md] [--table NAME] [--machine "what it is"]

Every row of every model is measured once a round by each engine, one after the other, in the other order in
every second round, so that a machine that gets slower or busier falls on all alike. Figures are medians;
ratios are taken round by round, and greater is always better for quern. All engines run on the same
processors (--cpus) with as many threads.

Rows (--rows, in any order and of any size):
  promptN        tokens/s of a prompt of N tokens
  genN, genN@D   tokens/s of N generated tokens, from an empty sequence or after D tokens
  parallelS[xN]  tokens/s of S sequences that generate N tokens each (64) at once, all together
  busy-promptN   percent of an engine's own speed that is left beside a busy program on every processor: half
  busy-genN      is the fair share
  load           seconds until the first token can be asked for, the file being in the system's cache, and quern's
                 pack of a large model where an earlier load has written it
  load-unpacked  the same without a pack, as the very first time
  memory         greatest resident memory of a prompt of 512 and 16 generated tokens, the mapped file included

llama.cpp is driven through its C interface in llama-cpp-python, in the Python that runs this script; memory
that Python itself holds is not counted. For a fair rival compile it for this machine:

    CMAKE_ARGS=-DGGML_NATIVE=ON python3 -m pip install --no-binary llama-cpp-python llama-cpp-python

ik_llama.cpp is driven through its llama-bench (-rtr 1 -fa 1); parallel rows need llama-batched-bench, looked
for beside it and in the same build. An engine that is missing has no column; one that fails in a row has no
figure there, and the reason is said and kept in the JSON. --write puts the table between the markers of a
Markdown file (those with its --table's name, where a file has tables of several machines), and wants at least
five rounds. --machine says what processor it is where the system does not know. The whole takes hours: --join makes one table of what --json kept
of several runs on one machine. --limits adds a column: the speed of quern as a share of the
measured memory bandwidth (bw) or vector peak (vec), whichever is nearer (quern bench --help).
"""
import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- bench/compare.py writes {}from here -->", "<!-- to here -->"
DEFAULT_ROWS = "prompt512,gen128,gen64@4096,prompt4096,parallel8,parallel16,load,memory"
LIMIT_S = 3600  # of one measurement: a rival that hangs is a rival that fails


class Row:
    """One line of the table: what is done, and how its figures read."""

    def __init__(self, name):
        self.name, self.n, self.depth, self.sequences, self.work = name, 0, 0, 1, None
        forms = (r"(prompt)(\d+)", r"(gen)(\d+)(?:@(\d+))?", r"(parallel)(\d+)(?:x(\d+))?",
                 r"(busy)-((?:prompt|gen)\d+)", r"(load)(-unpacked)?", r"(memory)")
        match = next((m for m in (re.fullmatch(form, name) for form in forms) if m), None)
        if match is None:
            raise ValueError(f"'{name}' is no row (see --help)")
        self.kind = match[1]
        if self.kind in ("prompt", "gen"):
            self.n = int(match[2])
        if self.kind == "gen":
            self.depth = int(match[3] or 0)
        if self.kind == "parallel":
            self.sequences, self.n = int(match[2]), int(match[3] or 64)
        if self.kind == "busy":
            self.work = Row(match[2])
        self.is_unpacked = self.kind == "load" and match[2] is not None
        if self.kind in ("prompt", "gen", "parallel") and (self.n < 1 or self.sequences < 1):
            raise ValueError(f"'{name}' has nothing to do")
        self.less_is_better = self.kind in ("load", "memory")
        self.unit = {"load": "s", "memory": "MB", "busy": "%"}.get(self.kind, "tokens/s")

    def title(self):
        return {
            "prompt": f"prompt of {self.n}",
            "gen": f"generation of {self.n}" + (f" at depth {self.depth}" if self.depth else ""),
            "parallel": f"{self.sequences} sequences generating at once",
            "busy": f"{self.work.title()} beside busy programs, % of its own speed" if self.work else "",
            "load": "load without a pack, seconds" if self.is_unpacked else "load, seconds",
            "memory": "peak memory, MB",
        }[self.kind]

    def figure(self, value):
        if self.kind == "load":
            return f"{value:.2f}"
        return f"{value:.0f}" if value >= 100 or self.kind == "memory" else f"{value:.1f}"


def run(command, env=None, cwd=None, with_errors=False):
    """Standard output (and error), and the greatest resident memory in bytes. A failure says the last line of
    stderr."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                               env=env, cwd=cwd)
    try:
        out, err = process.stdout, process.stderr
        with _Collect(err) as said:
            text = _read_until(out, process, started + LIMIT_S)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        lines = [line for line in said.text.splitlines() if line.strip()]
        raise RuntimeError(f"exit {process.returncode}: {lines[-1].strip() if lines else 'nothing was said'}")
    return text + said.text if with_errors else text, usage.ru_maxrss * 1024


class _Collect:
    """Reads a stream to its end beside the main thread, so that neither pipe fills up."""

    def __init__(self, stream):
        import threading

        self.text, self._stream = "", stream
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self):
        self.text = self._stream.read()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._thread.join(5)


def _read_until(stream, process, deadline):
    import threading

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), process.kill)
    timer.start()
    try:
        return stream.read()
    finally:
        timer.cancel()


class BusyPrograms:
    """One on every processor that is measured."""

    def __enter__(self):
        self._loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"],
                                        preexec_fn=lambda cpu=cpu: os.sched_setaffinity(0, [cpu]))
                       for cpu in sorted(os.sched_getaffinity(0))]

    def __exit__(self, *unused):
        for loop in self._loops:
            loop.kill()
            loop.wait()


class Quern:
    name = "quern"

    def __init__(self, args):
        self.program, self.threads, self.limits = args.quern, args.threads, args.limits
        self.share = None  # of the limits, in the last measurement
        self.version = run([self.program, "--version"])[0].split("\n")[0]

    def measure(self, model, row):
        options = {
            "prompt": ["-p", row.n, "-n", 0],
            "gen": ["-p", 0, "-n", row.n, "-d", row.depth],
            "parallel": ["-p", 0, "-n", row.n, "--parallel", row.sequences],
            "load": ["-p", 0, "-n", 1, "--pack-cache", "off" if row.is_unpacked else "auto"],
            "memory": ["-p", 512, "-n", 16],
        }[row.kind]
        command = [self.program, "bench", model, "-t", self.threads, "-r", 1, "--json", *options]
        if self.limits and not row.less_is_better:
            command.append("--limits")
        text, peak_bytes = run([str(word) for word in command])
        rows = json.loads(text)
        self.share = (rows[0]["memory_share"], rows[0]["vector_share"]) if "--limits" in command else None
        if row.kind == "memory":
            return peak_bytes / 1e6
        return rows[0]["load_seconds" if row.kind == "load" else "tokens_per_second"]


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, args):
        from importlib.metadata import version

        self.threads = args.threads
        self.version = "llama-cpp-python " + version("llama-cpp-python")

    def measure(self, model, row):
        text, _ = run([sys.executable, __file__, model, "--threads", str(self.threads), "--drive-llama-cpp", row.name])
        return json.loads(text.strip().splitlines()[-1])["value"]


class IkLlamaCpp:
    name = "ik_llama.cpp"

    def __init__(self, args):
        self.program, self.threads = pathlib.Path(args.ik), args.threads
        if not os.access(self.program, os.X_OK) or self.program.is_dir():
            raise FileNotFoundError(f"{self.program} is no program")
        places = [self.program.parent, self.program.parent.parent / "batched-bench"]
        self.batched = next((p / "llama-batched-bench" for p in places if (p / "llama-batched-bench").is_file()), None)
        self.version = f"ik_llama.cpp ({self._commit()})"

    def _commit(self):
        command = ["git", "-C", str(self.program.resolve().parent), "log", "-1", "--format=%h of %cs"]
        try:
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() or "unknown"
        except (OSError, subprocess.CalledProcessError):
            return "unknown commit"

    def measure(self, model, row):
        if row.kind == "load":
            raise NotImplementedError("llama-bench does not tell")
        if row.kind == "parallel":
            return self._parallel(model, row)
        options = {
            "prompt": ["-p", row.n, "-n", 0],
            "gen": ["-p", 0, "-n", 0, "-gp", f"{row.depth},{row.n}"] if row.depth else ["-p", 0, "-n", row.n],
            "memory": ["-p", 512, "-n", 16],
        }[row.kind]
        command = [self.program, "-m", model, "-t", self.threads, "-r", 1, "-fa", 1, "-rtr", 1, "-ngl", 0, "-o", "json"]
        text, peak_bytes = run([str(word) for word in command + options])
        if row.kind == "memory":
            return peak_bytes / 1e6
        return json.loads(text[text.index("[") :])[-1]["avg_ts"]

    def _parallel(self, model, row):
        if self.batched is None:
            raise FileNotFoundError("there is no llama-batched-bench beside llama-bench")
        n_ctx = row.sequences * (row.n + 8)
        command = [self.batched.resolve(), "-m", os.path.abspath(model), "-t", self.threads, "-c", n_ctx, "-b", 2048, "-ub", 512, "-fa", "on",
                   "-rtr", "-npp", 1, "-ntg", row.n, "-npl", row.sequences]
        with tempfile.TemporaryDirectory() as directory:  # where it leaves a log; its table is part of that
            text, _ = run([str(word) for word in command], cwd=directory, with_errors=True)
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if len(cells) == 10 and cells[:3] == ["1", str(row.n), str(row.sequences)]:
                return float(cells[7])  # S_TG t/s
        raise RuntimeError("llama-batched-bench printed no such line")


def resident_bytes(key):
    for line in open("/proc/self/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


def drive_llama_cpp(model_path, row, n_threads):
    """One measurement in this process; prints {"value": ...} as its last line."""
    import ctypes

    import llama_cpp as llama

    silent = llama.llama_log_callback(lambda level, line, user: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    llama.llama_backend_init()
    before_bytes = resident_bytes("VmRSS")
    start = time.perf_counter()
    model_params = llama.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(model_path.encode(), model_params)
    if not model:
        sys.exit(f"llama.cpp cannot load {model_path}")
    n_tokens = {"load": 1, "memory": 512 + 16}.get(row.kind, row.depth + row.n)
    params = llama.llama_context_default_params()
    params.n_ctx = row.sequences * ((n_tokens + 255) // 256 * 256)  # each sequence gets its part of it
    params.n_batch = params.n_ubatch = 512
    params.n_seq_max = row.sequences
    params.n_threads = params.n_threads_batch = n_threads
    context = llama.llama_init_from_model(model, params)
    if not context:
        sys.exit("llama.cpp cannot make a context")
    load_s = time.perf_counter() - start
    n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    batch = llama.llama_batch_init(512, 0, 1)

    def feed(begin, end, step):
        """Positions [begin, end) of every sequence, `step` tokens of each a call."""
        for at in range(begin, end, step):
            stop, i = min(at + step, end), 0
            for sequence in range(row.sequences):
                for position in range(at, stop):
                    batch.token[i] = (1000 + 37 * position) % n_vocab
                    batch.pos[i] = position
                    batch.n_seq_id[i] = 1
                    batch.seq_id[i][0] = sequence
                    batch.logits[i] = position == stop - 1
                    i += 1
            batch.n_tokens = i
            if llama.llama_decode(context, batch) != 0:
                sys.exit("llama.cpp: llama_decode failed")
        llama.llama_synchronize(context)

    def clear():
        llama.llama_memory_clear(llama.llama_get_memory(context), True)

    if row.kind == "load":
        value = load_s
    elif row.kind == "memory":
        feed(0, 512, 512)
        feed(512, 528, 1)
        value = (resident_bytes("VmHWM") - before_bytes) / 1e6
    else:
        step = 512 if row.kind == "prompt" else 1
        feed(0, min(row.n, 512 if step > 1 else 16), step)  # to warm up
        clear()
        feed(0, row.depth, 512)
        start = time.perf_counter()
        feed(row.depth, row.depth + row.n, step)
        value = row.sequences * row.n / (time.perf_counter() - start)
    print(json.dumps({"value": value}))


def machine(args):
    processor = platform.processor() or platform.machine()
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": args.machine or processor, "processors": os.cpu_count(), "memory_bytes": memory_bytes,
            "system": f"{platform.system()} {platform.release()}", "date": time.strftime("%Y-%m-%d"),
            "threads": args.threads, "cpus": args.cpus, "rounds": args.rounds}


def summarize(result):
    """Medians, and ratios of rounds that both engines have."""
    ours = result["values"].get("quern", [])
    result["median"], result["ratio"] = {}, {}
    for engine, values in result["values"].items():
        known = [v for v in values if v is not None]
        if known:
            result["median"][engine] = statistics.median(known)
        pairs = [(a, b) for a, b in zip(ours, values) if a and b]
        if engine != "quern" and pairs:
            ratios = [b / a if result["less_is_better"] else a / b for a, b in pairs]
            result["ratio"][engine] = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def share_text(shares):
    if not shares:
        return "–"
    memory, vector = (statistics.median(column) for column in zip(*shares))
    return f"{100 * memory:.0f} % bw" if memory >= vector else f"{100 * vector:.0f} % vec"


def markdown(report):
    m, rivals = report["machine"], [name for name in report["engines"] if name != "quern"]
    limits = any(result["shares_of_limits"] for result in report["results"])
    versions = ", ".join(report["engines"].values())
    lines = [f"{m['processor']}, {m['processors']} processors, {m['memory_bytes'] / 1e9:.0f} GB, {m['threads']} "
             f"thread{'s' if m['threads'] > 1 else ''} each, {m['date']}: {versions}. {m['rounds']} rounds in turns; medians, and the median of the ratios "
             "round by round with the least and the greatest (above 1: quern is faster, or takes less).", ""]
    titles = ["model", "work", "quern"] + [title for name in rivals for title in (name, "ratio")]
    titles += ["of the limit"] if limits else []
    lines.append("| " + " | ".join(titles) + " |")
    lines.append("| --- | --- | " + " | ".join(["---:"] * (len(titles) - 2)) + " |")
    last = None
    for result in report["results"]:
        row = Row(result["row"])
        cells = ["" if result["model"] == last else result["model"].replace("|", "\\|"), row.title()]
        last = result["model"]
        for name in ["quern"] + rivals:
            cells.append(row.figure(result["median"][name]) if name in result["median"] else "–")
            if name != "quern":
                ratio = result["ratio"].get(name)
                cells.append("–" if ratio is None else
                             f"**{ratio['median']:.2f}** ({ratio['min']:.2f} to {ratio['max']:.2f})")
        if limits:
            cells.append(share_text(result["shares_of_limits"]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def joined(args, paths):
    """One report of several runs."""
    reports = [json.loads(pathlib.Path(path).read_text(encoding="utf-8")) for path in paths]
    first = reports[0]
    for path, report in zip(paths, reports):
        for key in ("processor", "processors", "threads"):
            if report["machine"][key] != first["machine"][key]:
                sys.exit(f"{path}: another machine, or another number of threads, than {paths[0]}: {key}")
        if report["engines"] != first["engines"]:
            sys.exit(f"{path}: other engines than {paths[0]}")
    machines = [report["machine"] for report in reports]
    return {"machine": {**first["machine"], **({"processor": args.machine} if args.machine else {}), "date": max(m["date"] for m in machines),
                        "rounds": min(m["rounds"] for m in machines)},
            "engines": first["engines"],
            "results": [result for report in reports for result in report["results"] if result.get("median")]}


def write_between_markers(path, table, text):
    page = pathlib.Path(path).read_text(encoding="utf-8")
    marker = BEGIN.format(table + " " if table else "")
    begin = page.find(marker)
    end = page.find(END, max(begin, 0))
    if begin < 0 or end < 0:
        sys.exit(f"{path}: has no '{marker}' before '{END}'")
    page = page[: begin + len(marker)] + "\n" + text + page[end:]
    replace(path, page)


def replace(path, text):
    beside = f"{path}.new"
    pathlib.Path(beside).write_text(text, encoding="utf-8")
    os.replace(beside, path)


def find_engines(args):
    engines, wanted = [], [Quern]
    if not args.no_llama_cpp:
        wanted.append(LlamaCpp)
    if args.ik:
        wanted.append(IkLlamaCpp)
    for engine in wanted:
        try:
            engines.append(engine(args))
        except Exception as error:
            print(f"{engine.name} is left out: {error or type(error).__name__}", file=sys.stderr)
    return engines


def measure_all(args, engines, report):
    results = {}
    for path, label in args.models:
        for row in args.rows:
            result = {"model": label, "file": os.path.basename(path), "row": row.name, "unit": row.unit,
                      "less_is_better": row.less_is_better, "values": {e.name: [] for e in engines},
                      "shares_of_limits": [], "errors": {}}
            results[path, row.name] = result
            report["results"].append(result)
    for i in range(args.rounds):
        for path, label in args.models:
            for row in args.rows:
                result = results[path, row.name]
                for engine in engines if i % 2 == 0 else reversed(engines):
                    result["values"][engine.name].append(measure_one(engine, path, row, result, i))
                summarize(result)
                save(args, report)


def measure_one(engine, path, row, result, i):
    known = result["values"][engine.name]
    if known and not any(known):
        return None  # it failed at once, and would again
    try:
        value = measure_busy(engine, path, row.work) if row.kind == "busy" else engine.measure(path, row)
        if getattr(engine, "share", None) and row.kind != "busy":
            result["shares_of_limits"].append(engine.share)
        print(f"round {i + 1}, {result['model']}, {row.title()}, {engine.name}: {row.figure(value)} {row.unit}",
              file=sys.stderr)
        return value
    except Exception as error:  # the other columns go on
        result["errors"][engine.name] = f"{type(error).__name__}: {error}"
        print(f"{result['model']}, {row.title()}, {engine.name}: no figure: {error}", file=sys.stderr)
        return None


def measure_busy(engine, path, work):
    quiet = engine.measure(path, work)
    with BusyPrograms():
        return 100 * engine.measure(path, work) / quiet


def save(args, report):
    if args.json:
        replace(args.json, json.dumps(report, indent=1) + "\n")


def pin(args):
    """This process, and so every engine, on the same processors."""
    allowed = sorted(os.sched_getaffinity(0))
    if args.cpus:
        args.cpus = [int(cpu) for cpu in args.cpus.split(",")]
    else:
        args.cpus = allowed[: args.threads] if args.threads else allowed
    args.threads = args.threads or len(args.cpus)
    os.sched_setaffinity(0, args.cpus)


def model_argument(text):
    path, _, label = text.partition("=")
    return path, label or pathlib.Path(path).stem


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL[=LABEL]", help="GGUF files")
    parser.add_argument("--rows", default=DEFAULT_ROWS, help=f"default: {DEFAULT_ROWS}")
    parser.add_argument("--threads", type=int, default=0, help="default: as many as --cpus")
    parser.add_argument("--cpus", help="processors to run on, such as 0,1; default: the first --threads, or all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quern", default=str(ROOT / "quern") if (ROOT / "quern").exists() else shutil.which("quern"))
    parser.add_argument("--ik", metavar="LLAMA-BENCH", help="llama-bench of ik_llama.cpp")
    parser.add_argument("--limits", action="store_true", help="also the share of the machine's limits")
    parser.add_argument("--no-llama-cpp", action="store_true", help="leave llama.cpp out")
    parser.add_argument("--json", metavar="FILE", help="all figures; written again after every row")
    parser.add_argument("--write", metavar="FILE.md", help="put the table between the markers of this file")
    parser.add_argument("--table", metavar="NAME", default="", help="... between those with this name")
    parser.add_argument("--machine", metavar="TEXT", help="what the table calls the processor")
    parser.add_argument("--join", nargs="+", metavar="FILE", help="measure nothing: one table of the files of --json")
    parser.add_argument("--drive-llama-cpp", metavar="ROW", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.drive_llama_cpp:
        return drive_llama_cpp(args.models[0], Row(args.drive_llama_cpp), args.threads)
    try:
        args.rows = [Row(name) for name in args.rows.split(",")]
        args.models = [model_argument(text) for text in args.models]
        if args.rounds < 1 or args.threads < 0:
            raise ValueError("--rounds and --threads are at least 1")
        pin(args)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if bool(args.models) == bool(args.join):
        parser.error("either models to measure, or --join FILE...")
    report = joined(args, args.join) if args.join else None
    if args.write and (report["machine"] if report else vars(args))["rounds"] < 5:
        parser.error("--write wants at least five rounds: fewer are no median to publish")
    for path, _ in args.models:
        if not os.path.isfile(path):
            parser.error(f"{path}: no such file")
    if report is None:
        report = measured(args)
    table = markdown(report)
    print(table, end="")
    if args.write:
        write_between_markers(args.write, args.table, table)


def measured(args):
    engines = find_engines(args)
    if not engines or engines[0].name != "quern":
        sys.exit("there is no quern to measure (make, or --quern PATH)")
    report = {"machine": machine(args), "engines": {e.name: e.version for e in engines}, "results": []}
    measure_all(args, engines, report)
    return report


if __name__ == "__main__":
    main()
