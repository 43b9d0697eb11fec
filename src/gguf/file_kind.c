/* file_kind.c: telling common files by their first bytes (the magic numbers of each format). */
#include "gguf/file_kind.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool starts_with(const char *data, size_t n_bytes, const char *prefix)
{
    const size_t n = strlen(prefix);
    return n_bytes >= n && memcmp(data, prefix, n) == 0;
}

static bool looks_like_html(const char *data, size_t n_bytes)
{
    size_t i = starts_with(data, n_bytes, "\xef\xbb\xbf") ? 3 : 0;
    while (i < n_bytes && i < 1024 && memchr(" \t\r\n", data[i], 4) != NULL) i++;
    return starts_with(data + i, n_bytes - i, "<!") || starts_with(data + i, n_bytes - i, "<html") ||
           starts_with(data + i, n_bytes - i, "<HTML") || starts_with(data + i, n_bytes - i, "<?xml");
}

static bool looks_like_safetensors(const char *data, size_t n_bytes)
{
    uint64_t header_bytes;
    if (n_bytes < 9 || data[8] != '{') return false;
    memcpy(&header_bytes, data, sizeof header_bytes);
    return header_bytes <= (uint64_t)1 << 32;
}

const char *qn_file_kind(const char *data, size_t n_bytes)
{
    static const struct {
        const char *prefix, *kind;
    } table[] = {
        {"version https://git-lfs",
         "a Git LFS pointer: the model itself was not downloaded (run `git lfs pull`)"},
        {"PK\x03\x04", "a zip archive, perhaps a PyTorch checkpoint (unpack it, or convert it to GGUF)"},
        {"lmgg", "an old GGML file from before GGUF (convert the original model again)"},
        {"fmgg", "an old GGML file from before GGUF (convert the original model again)"},
        {"tjgg", "an old GGML file from before GGUF (convert the original model again)"},
        {"algg", "an old GGML adapter from before GGUF (convert the original adapter again)"},
        {"\x1f\x8b", "gzip data (unpack it first)"},
        {"\x28\xb5\x2f\xfd", "Zstandard data (unpack it first)"},
        {"\x80\x02", "a Python pickle, perhaps a PyTorch checkpoint (convert it to GGUF)"},
        {"{", "JSON text (an error answer of a server, or a configuration file?)"},
    };
    if (looks_like_html(data, n_bytes))
        return "an HTML page (download the file itself, not the page about it)";
    if (looks_like_safetensors(data, n_bytes)) return "a safetensors file (convert it to GGUF)";
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (starts_with(data, n_bytes, table[i].prefix)) return table[i].kind;
    size_t zeros = 0;
    while (zeros < n_bytes && zeros < 64 && data[zeros] == 0) zeros++;
    return zeros >= 4 && (zeros == n_bytes || zeros == 64) ? "only zero bytes (an interrupted download?)"
                                                           : NULL;
}
