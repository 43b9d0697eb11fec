"""Writes a text file as a C array: embed.py INPUT OUTPUT SYMBOL."""
import sys

source, target, symbol = sys.argv[1:]
with open(source, "rb") as f:
    data = f.read()
with open(target, "w", encoding="ascii") as f:
    f.write("/* Made from %s by embed.py. */\n#include <stddef.h>\n" % source.replace("\\", "/").rsplit("/", 1)[-1])
    f.write("extern const char %s[];\nextern const size_t %s_bytes;\n" % (symbol, symbol))
    f.write("const char %s[] = {\n" % symbol)
    for at in range(0, len(data), 16):
        f.write("    " + ", ".join("%d" % (b if b < 128 else b - 256) for b in data[at:at + 16]) + ",\n")
    f.write("    0};\nconst size_t %s_bytes = sizeof %s - 1;\n" % (symbol, symbol))
