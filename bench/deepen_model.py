#!/usr/bin/env python3
"""Write a model that says nearly what a given one says, and takes several times as long for it.

    bench/deepen_model.py MODEL.gguf DEEP.gguf [--times 10] [--noise 0.02] [--seed 1]

Each layer is followed by copies of itself whose two output matrices (attn_output, ffn_down) are replaced by random
numbers of spread --noise, stored in Q8_0: they compute as much as the layer does, and add a little noise to what
it says. So the given model is a draft for the deep one that is often right, as a small model of a family is for a
large one: for measuring speculation where no such pair is at hand. Needs nothing beside Python.
"""
import argparse
import random
import re
import struct

Q8_0, Q8_0_VALUES, Q8_0_BYTES = 8, 32, 34
#         type: values per block, bytes per block
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
          11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18), 23: (256, 136), 30: (1, 2)}
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY, U32 = 8, 9, 4
NOISY = ("attn_output.weight", "ffn_down.weight")


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, form):
        value, = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def text(self):
        n = self.number("Q")
        self.at += n
        return self.data[self.at - n : self.at]

    def skip_value(self, kind):
        if kind == STRING:
            self.text()
        elif kind == ARRAY:
            of, n = self.number("I"), self.number("Q")
            for _ in range(n if of in (STRING, ARRAY) else 0):
                self.skip_value(of)
            self.at += n * SCALARS.get(of, 0)
        else:
            self.at += SCALARS[kind]


def read(path):
    """Metadata entries as (key, bytes), and tensors as (name, dimensions, type, bytes)."""
    with open(path, "rb") as f:
        r = Reader(f.read())
    if r.data[:4] != b"GGUF" or struct.unpack_from("<I", r.data, 4)[0] < 2:
        raise SystemExit(f"{path}: not a GGUF file of version 2 or 3")
    r.at = 8
    n_tensors, n_entries = r.number("Q"), r.number("Q")
    entries, tensors, alignment = [], [], 32
    for _ in range(n_entries):
        begin = r.at
        key = r.text().decode()
        kind, value_at = r.number("I"), r.at
        r.skip_value(kind)
        entries.append((key, r.data[begin : r.at]))
        if key == "general.alignment":
            alignment, = struct.unpack_from("<I", r.data, value_at)
    for _ in range(n_tensors):
        name = r.text().decode()
        dimensions = [r.number("Q") for _ in range(r.number("I"))]
        tensors.append((name, dimensions, r.number("I"), r.number("Q")))
    base = (r.at + alignment - 1) // alignment * alignment
    return entries, [(name, dimensions, kind, r.data[base + offset : base + offset + size_of(dimensions, kind)])
                     for name, dimensions, kind, offset in tensors]


def size_of(dimensions, kind):
    n = 1
    for d in dimensions:
        n *= d
    values, n_bytes = BLOCKS[kind]
    return n // values * n_bytes


def noise(rng, dimensions, spread):
    """Q8_0 blocks whose values are uniform, with this standard deviation."""
    n_blocks = size_of(dimensions, Q8_0) // Q8_0_BYTES
    data = bytearray(rng.randbytes(n_blocks * Q8_0_BYTES))
    low, high = struct.pack("<e", spread * 3**0.5 / 128)
    data[0::Q8_0_BYTES], data[1::Q8_0_BYTES] = bytes([low]) * n_blocks, bytes([high]) * n_blocks
    return bytes(data)


def deepen(tensors, times, spread, rng):
    for name, dimensions, kind, data in tensors:
        layer = re.match(r"blk\.(\d+)\.(.*)", name)
        if layer is None:
            yield name, dimensions, kind, data
            continue
        for copy in range(times):
            noisy = copy > 0 and layer[2] in NOISY
            yield (f"blk.{int(layer[1]) * times + copy}.{layer[2]}", dimensions, Q8_0 if noisy else kind,
                   noise(rng, dimensions, spread) if noisy else data)


def write(path, entries, tensors):
    text = lambda s: struct.pack("<Q", len(s.encode())) + s.encode()
    head, offset = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(entries))), 0
    for entry in entries:
        head += entry
    for name, dimensions, kind, data in tensors:
        head += text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)
        offset += (len(data) + 31) // 32 * 32
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32))
        for *_, data in tensors:
            f.write(data + bytes(-len(data) % 32))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("out")
    p.add_argument("--times", type=int, default=10, help="layers in place of one (default 10)")
    p.add_argument("--noise", type=float, default=0.02, help="spread of the numbers that are added (default 0.02)")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    entries, tensors = read(a.model)
    changed = []
    for key, entry in entries:
        if key.endswith(".block_count"):
            n_layers, = struct.unpack("<I", entry[-4:])
            entry = entry[:-4] + struct.pack("<I", n_layers * a.times)
        if key != "general.alignment":
            changed.append(entry)
    write(a.out, changed, list(deepen(tensors, a.times, a.noise, random.Random(a.seed))))


main()
