#!/usr/bin/env python3
"""Write a GGUF file with the shapes and block formats of a published model, and random weights.

    bench/make_model.py qwen2.5-1.5b Q4_K_M model.gguf [--seed 1]

Reading, loading and running such a file costs exactly what the real one costs, so speed can be measured
where the real weights are not at hand. What it says means nothing. Needs nothing beside Python.
"""
import argparse
import math
import random
import struct

#                       family   n_embd layers heads kv head_dim  n_ff  n_vocab  tied  freq_base
MODELS = {
    "smollm2-135m":   ("llama",    576,   30,   9,  3,    64,   1536,  49152, True,  1e5),
    "tinyllama-1.1b": ("llama",   2048,   22,  32,  4,    64,   5632,  32000, False, 1e4),
    "llama-3.2-1b":   ("llama",   2048,   16,  32,  8,    64,   8192, 128256, True,  5e5),
    "llama-3.2-3b":   ("llama",   3072,   28,  24,  8,   128,   8192, 128256, True,  5e5),
    "qwen2.5-0.5b":   ("qwen2",    896,   24,  14,  2,    64,   4864, 151936, True,  1e6),
    "qwen2.5-1.5b":   ("qwen2",   1536,   28,  12,  2,   128,   8960, 151936, True,  1e6),
    "qwen2.5-3b":     ("qwen2",   2048,   36,  16,  2,   128,  11008, 151936, True,  1e6),
    "qwen2.5-7b":     ("qwen2",   3584,   28,  28,  4,   128,  18944, 152064, False, 1e6),
    "qwen3-moe-tiny": ("qwen3moe", 1024,  16,  16,  4,   128,   2048,  32000, False, 1e6),
    "qwen3-30b-a3b":  ("qwen3moe", 2048,  48,  32,  4,   128,   6144, 151936, False, 1e6),
}
#                  experts, used for a token, width of one
EXPERTS = {"qwen3-moe-tiny": (32, 4, 512), "qwen3-30b-a3b": (128, 8, 768)}

# format: number in the file, weights per block, bytes per block, then (offset, value) of the half-precision
# fields of a block, chosen so that random quants give weights of mean 0 and a spread of about 0.02.
FORMATS = {
    "F32":  (0, 1, 4, ()),
    "F16":  (1, 1, 2, ()),
    "Q4_0": (2, 32, 18, ((0, 4.3e-3),)),
    "Q4_1": (3, 32, 20, ((0, 4.3e-3), (2, -3.2e-2))),
    "Q5_0": (6, 32, 22, ((0, 2.2e-3),)),
    "Q5_1": (7, 32, 24, ((0, 2.2e-3), (2, -3.4e-2))),
    "Q8_0": (8, 32, 34, ((0, 2.7e-4),)),
    "Q4_K": (12, 256, 144, ((0, 1.0e-4), (2, 7.5e-4))),
    "Q5_K": (13, 256, 176, ((0, 5.0e-5), (2, 7.75e-4))),
    "Q6_K": (14, 256, 210, ((208, 1.5e-5),)),
    "IQ4_NL": (20, 32, 18, ((0, 2.9e-4),)),
    "IQ4_XS": (23, 256, 136, ((0, 1.6e-5),)),
    "BF16": (30, 1, 2, ()),
}
NARROW = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "IQ4_XS": "IQ4_NL"}  # for rows that blocks of 256 do not divide
RECIPES = ("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q6_K", "Q4_K_M", "Q5_K_M", "IQ4_XS")

# High bytes of floats of either sign with a magnitude in [2^-7, 2^-6), for any random byte.
F16_HIGH = bytes((b & 0x83) | 0x20 for b in range(256))
BF16_HIGH = bytes((b & 0x80) | 0x3C for b in range(256))


def choose_format(recipe, tensor, layer, n_layers, tied, n_cols):
    """The mixed recipes keep the tensors that matter most, in the layers that matter most, in more bits."""
    base = recipe[:-2] if recipe.endswith("_M") else recipe
    quantized = base not in ("F16", "BF16")
    is_output = tensor == "output" or (tensor == "token_embd" and tied)
    eighth = n_layers // 8
    keeps_more = layer < eighth or layer >= 7 * eighth or (layer - eighth) % 3 == 2
    if quantized and base != "Q8_0" and is_output:
        base = "Q6_K"
    elif recipe.endswith("_M") and tensor in ("attn_v", "ffn_down") and keeps_more:
        base = "Q6_K"
    return NARROW.get(base, base) if n_cols % FORMATS[base][1] else base


def random_blocks(rng, name, n_values):
    """The bytes of n_values weights, in pieces."""
    _, per_block, block_bytes, halves = FORMATS[name]
    n_blocks = n_values // per_block
    while n_blocks > 0:
        n = min(n_blocks, (4 << 20) // block_bytes)
        data = bytearray(rng.randbytes(n * block_bytes))
        for offset, value in halves:
            low, high = struct.pack("<e", value)
            data[offset::block_bytes] = bytes([low]) * n
            data[offset + 1 :: block_bytes] = bytes([high]) * n
        if name in ("F16", "BF16"):
            data[1::2] = data[1::2].translate(F16_HIGH if name == "F16" else BF16_HIGH)
        if name == "F32":
            data[3::4] = data[3::4].translate(BF16_HIGH)
        yield data
        n_blocks -= n


def text(s):
    return struct.pack("<Q", len(s)) + s


class Metadata:
    KINDS = {"u32": (4, "<I"), "f32": (6, "<f"), "bool": (7, "<?")}

    def __init__(self):
        self.entries = []

    def add(self, key, kind, value):
        number, form = self.KINDS[kind]
        self.entries.append(text(key.encode()) + struct.pack("<I", number) + struct.pack(form, value))

    def add_string(self, key, value):
        self.entries.append(text(key.encode()) + struct.pack("<I", 8) + text(value.encode()))

    def add_array(self, key, kind, items):
        self.entries.append(text(key.encode()) + struct.pack("<IIQ", 9, kind, len(items)) + b"".join(items))


def metadata(name, family, n_embd, n_layers, n_head, n_head_kv, head_dim, n_ff, n_vocab, freq_base):
    experts, used, n_ff_expert = EXPERTS.get(name, (0, 0, 0))
    m = Metadata()
    m.add_string("general.architecture", family)
    m.add_string("general.name", f"{name} with random weights")
    for key, value in (("context_length", 32768), ("embedding_length", n_embd), ("block_count", n_layers),
                       ("feed_forward_length", n_ff), ("attention.head_count", n_head),
                       ("attention.head_count_kv", n_head_kv), ("attention.key_length", head_dim),
                       ("attention.value_length", head_dim), ("rope.dimension_count", head_dim),
                       ("vocab_size", n_vocab)):
        m.add(f"{family}.{key}", "u32", value)
    if experts > 0:
        for key, value in (("expert_count", experts), ("expert_used_count", used),
                           ("expert_feed_forward_length", n_ff_expert)):
            m.add(f"{family}.{key}", "u32", value)
    m.add(f"{family}.rope.freq_base", "f32", freq_base)
    m.add(f"{family}.attention.layer_norm_rms_epsilon", "f32", 1e-6)
    # A vocabulary that can spell anything: three special tokens, the 256 bytes, then made-up words.
    tokens = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % b for b in range(256)]
    kinds = [2, 3, 3] + [6] * 256
    n_words = n_vocab - len(tokens)
    tokens += ["\u2581w{:x}".format(i).encode() for i in range(n_words)]
    scores = [0.0] * len(kinds) + [-1.0 - i for i in range(n_words)]
    kinds += [1] * n_words
    m.add_string("tokenizer.ggml.model", "llama")
    m.add_array("tokenizer.ggml.tokens", 8, [text(t) for t in tokens])
    m.add_array("tokenizer.ggml.scores", 6, [struct.pack("<f", s) for s in scores])
    m.add_array("tokenizer.ggml.token_type", 5, [struct.pack("<i", k) for k in kinds])
    for key, value in (("unknown", 0), ("bos", 1), ("eos", 2)):
        m.add(f"tokenizer.ggml.{key}_token_id", "u32", value)
    m.add("tokenizer.ggml.add_bos_token", "bool", True)
    return m


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    family, n_embd, n_layers, n_head, n_head_kv, head_dim, n_ff, n_vocab, tied, freq_base = MODELS[args.model]
    rng = random.Random(args.seed)

    tensors = []  # name, dimensions (the fastest first), format, constant or None

    def matrix(prefix, kind, rows, cols, layer=0, experts=()):
        form = choose_format(args.recipe, kind.removesuffix("_exps"), layer, n_layers, tied, cols)
        tensors.append((f"{prefix}{kind}.weight", (cols, rows, *experts), form, None))

    def vector(name, n, constant):
        tensors.append((name, (n,), "F32", constant))

    matrix("", "token_embd", n_vocab, n_embd)
    for layer in range(n_layers):
        prefix = f"blk.{layer}."
        vector(prefix + "attn_norm.weight", n_embd, 1.0)
        for kind, heads in (("attn_q", n_head), ("attn_k", n_head_kv), ("attn_v", n_head_kv)):
            matrix(prefix, kind, heads * head_dim, n_embd, layer)
            if family == "qwen2":
                vector(f"{prefix}{kind}.bias", heads * head_dim, 0.0)
        matrix(prefix, "attn_output", n_embd, n_head * head_dim, layer)
        vector(prefix + "ffn_norm.weight", n_embd, 1.0)
        if args.model not in EXPERTS:
            matrix(prefix, "ffn_gate", n_ff, n_embd, layer)
            matrix(prefix, "ffn_up", n_ff, n_embd, layer)
            matrix(prefix, "ffn_down", n_embd, n_ff, layer)
            continue
        vector(prefix + "attn_q_norm.weight", head_dim, 1.0)
        vector(prefix + "attn_k_norm.weight", head_dim, 1.0)
        experts, _, n_ff_expert = EXPERTS[args.model]
        tensors.append((prefix + "ffn_gate_inp.weight", (n_embd, experts), "F32", None))
        matrix(prefix, "ffn_gate_exps", n_ff_expert, n_embd, layer, (experts,))
        matrix(prefix, "ffn_up_exps", n_ff_expert, n_embd, layer, (experts,))
        matrix(prefix, "ffn_down_exps", n_embd, n_ff_expert, layer, (experts,))
    vector("output_norm.weight", n_embd, 1.0)
    if not tied:
        matrix("", "output", n_vocab, n_embd)

    m = metadata(args.model, family, n_embd, n_layers, n_head, n_head_kv, head_dim, n_ff, n_vocab, freq_base)
    align = 32
    header = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(m.entries)) + b"".join(m.entries))
    offset = 0
    sizes = []
    for name, dims, form, _ in tensors:
        number, per_block, block_bytes, _ = FORMATS[form]
        header += text(name.encode()) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, number, offset)
        sizes.append(math.prod(dims) // per_block * block_bytes)
        offset += -(-sizes[-1] // align) * align
    header += bytes(-len(header) % align)
    with open(args.out, "wb") as f:
        f.write(header)
        for (_, dims, form, constant), size in zip(tensors, sizes):
            if constant is not None:
                f.write(struct.pack("<f", constant) * math.prod(dims))
            else:
                for piece in random_blocks(rng, form, math.prod(dims)):
                    f.write(piece)
            f.write(bytes(-size % align))
    print(f"{args.out}: {args.model} {args.recipe}, {(len(header) + offset) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
