#!/usr/bin/env python3
"""Makes the TOKENIZER.json that bench/tokenizers.py wants for Hugging Face tokenizers out of a GGUF file.

    bench/tokenizer_json.py VOCABULARY.gguf TOKENIZER.json

Byte-level BPE of a few pre-tokenizers, and WordPiece. Needs the packages gguf and tokenizers.
"""
import pathlib
import sys

# The package tokenizers has the name of a file here, so it must not be looked for here.
sys.path[:] = [path for path in sys.path if pathlib.Path(path).resolve() != pathlib.Path(__file__).resolve().parent]

from gguf import GGUFReader
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
PATTERNS = {"gpt-2": [GPT2], "starcoder": [r"\p{N}", GPT2], "smollm": [r"\p{N}", GPT2],
            "llama-bpe": [CL100K.replace("DIGITS", r"\p{N}{1,3}")], "qwen2": [CL100K.replace("DIGITS", r"\p{N}")]}


def byte_level(fields, tokens):
    pre = fields["tokenizer.ggml.pre"].contents()
    if pre not in PATTERNS:
        sys.exit(f"the pattern of '{pre}' is not known here")
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges,
                                     ignore_merges=pre == "llama-bpe"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PATTERNS[pre]] +
        [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def word_piece(tokens):
    """The file has U+2581 before tokens that begin words; the library wants ## before those that do not."""
    names = {}
    for i, token in enumerate(tokens):
        is_special = token.startswith("[") and token.endswith("]") and len(token) > 2
        names["##" + token if not is_special and token[0] != "\u2581" else token.removeprefix("\u2581")] = i
    tokenizer = Tokenizer(models.WordPiece(names, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    fields = GGUFReader(sys.argv[1]).fields
    tokens, model = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.model"].contents()
    if model not in ("gpt2", "bert"):
        sys.exit(f"vocabularies of kind '{model}' cannot be made")
    (byte_level(fields, tokens) if model == "gpt2" else word_piece(tokens)).save(sys.argv[2])


if __name__ == "__main__":
    main()
