/* inspect.c: `quern show`, `plan` and `explain`: what a file is, what it will take, what it runs. */
#include "cli/embed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *info_json(const quern_model *model, const quern_model_info *i)
{
    json_t *metadata = json_object(), *tensors = json_array();
    char key[512], value[2048];
    for (size_t k = 0; quern_model_metadata(model, k, key, sizeof key, value, sizeof value); k++)
        json_object_set_new(metadata, key, json_string(value));
    quern_tensor_info t;
    for (size_t k = 0; quern_model_tensor(model, k, &t); k++)
        json_array_append_new(tensors, json_pack("{s:s, s:s, s:[I,I,I,I], s:I}", "name", t.name, "type",
                                                 t.type, "shape", (json_int_t)t.dims[0],
                                                 (json_int_t)t.dims[1], (json_int_t)t.dims[2],
                                                 (json_int_t)t.dims[3], "bytes", (json_int_t)t.n_bytes));
    quern_pack_info pack;
    quern_model_get_pack(model, &pack);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:I, s:i, s:i, s:i, s:s, s:b, s:b, "
                     "s:b, s:s, s:I, s:{s:s, s:I}, s:o, s:o}",
                     "architecture", i->architecture, "name", i->name, "quantization", i->file_type,
                     "parameters", (json_int_t)i->n_parameters, "file_bytes", (json_int_t)i->file_bytes,
                     "layers", (int)i->n_layer, "embedding_length", (int)i->n_embd, "heads", (int)i->n_head,
                     "kv_heads", (int)i->n_head_kv, "vocabulary", (int)i->n_vocab, "context_length",
                     (json_int_t)i->n_ctx_train, "experts", (int)i->n_expert, "experts_used",
                     (int)i->n_expert_used, "window", (int)i->window, "tokenizer", i->tokenizer,
                     "chat_template", (int)i->has_chat_template, "reasons", (int)i->reasons, "generates",
                     (int)i->generates, "pooling", qn_cli_pooling_name(i->pooling), "scores",
                     (json_int_t)i->n_scores, "pack", "state", qn_cli_pack_state(pack.state), "bytes",
                     (json_int_t)pack.size_bytes, "metadata", metadata, "tensors", tensors);
}

static void print_info(const quern_model *model, const quern_model_info *i, bool all)
{
    printf("name            %s\narchitecture    %s\nquantization    %s\nparameters      %.1f M\n", i->name,
           i->architecture, i->file_type, (double)i->n_parameters * 1e-6);
    printf("file            %s\nlayers          %u\nembedding       %u\nheads           %u (%u for keys and "
           "values)\n",
           qn_cli_bytes(i->file_bytes).text, i->n_layer, i->n_embd, i->n_head, i->n_head_kv);
    quern_pack_info pack;
    quern_model_get_pack(model, &pack);
    printf("pack            %s%s%s\n", qn_cli_pack_state(pack.state), pack.size_bytes > 0 ? ", " : "",
           pack.size_bytes > 0 ? qn_cli_bytes(pack.size_bytes).text : "");
    printf("context         %u\nvocabulary      %u (%s)\n", i->n_ctx_train, i->n_vocab, i->tokenizer);
    if (i->window > 0) printf("window          %u positions in some layers\n", i->window);
    if (i->n_expert > 0) printf("experts         %u of %u\n", i->n_expert_used, i->n_expert);
    if (!i->generates)
        printf("pooling         %s; makes %s only\n", qn_cli_pooling_name(i->pooling),
               i->n_scores > 0 ? "embeddings and scores" : "embeddings");
    else if (i->n_scores > 0) printf("scores          %u, by a classification head\n", i->n_scores);
    printf("chat template   %s%s%s\n", i->has_chat_template ? "yes" : "no",
           i->chat_template_problem != NULL ? " (broken)" : "",
           i->reasons ? ", answers may begin with reasoning" : "");
    if (i->chat_template_problem != NULL) printf("                %s\n", i->chat_template_problem);
    if (!all) return;
    printf("\nmetadata\n");
    char key[512], value[2048];
    for (size_t k = 0; quern_model_metadata(model, k, key, sizeof key, value, sizeof value); k++)
        printf("  %-44s %.200s\n", key, value);
    printf("\ntensors\n");
    quern_tensor_info t;
    for (size_t k = 0; quern_model_tensor(model, k, &t); k++) {
        printf("  %-36s %-8s %llu", t.name, t.type, (unsigned long long)t.dims[0]);
        for (int d = 1; d < 4; d++)
            if (t.dims[d] > 1) printf(" x %llu", (unsigned long long)t.dims[d]);
        putchar('\n');
    }
}

int qn_cli_show(int argc, char **argv)
{
    bool as_json = false, all = false;
    const qn_option options[] = {
        {"-a, --all", QN_FLAG, &all, 0, 0, NULL, "all metadata and tensors too"},
        {"--json", QN_FLAG, &as_json, 0, 0, NULL, "print JSON, with metadata and tensors"},
    };
    const int code = qn_options_parse("show", options, sizeof options / sizeof options[0], &argc, argv, 1, 1);
    if (code >= 0) return code;
    quern_model *model = qn_cli_open(argv[1], QN_OPEN_HEADER, 1);
    if (model == NULL) return QN_EXIT_FAILURE;
    quern_model_info info;
    quern_model_get_info(model, &info);
    int result;
    if (as_json) {
        result = qn_cli_print_json(info_json(model, &info));
    } else {
        print_info(model, &info, all);
        result = qn_cli_flush();
    }
    quern_model_close(model);
    return result;
}

static void print_plan(const quern_plan *p, const quern_pack_info *pack, uint64_t n_sequences)
{
    printf("weights           %12llu bytes  %s\n", (unsigned long long)p->weight_bytes,
           qn_cli_bytes(p->weight_bytes).text);
    printf("keys and values   %12llu bytes  %s for %llu x %u positions\n", (unsigned long long)p->kv_bytes,
           qn_cli_bytes(p->kv_bytes).text, (unsigned long long)n_sequences, p->n_ctx);
    printf("scratch           %12llu bytes  %s\n", (unsigned long long)p->scratch_bytes,
           qn_cli_bytes(p->scratch_bytes).text);
    printf("total             %12llu bytes  %s\n", (unsigned long long)p->total_bytes,
           qn_cli_bytes(p->total_bytes).text);
    printf("read from file    %12llu bytes  %s as needed, not held\n", (unsigned long long)p->mapped_bytes,
           qn_cli_bytes(p->mapped_bytes).text);
    if (pack->size_bytes > 0)
        printf("pack on disk      %12llu bytes  %s, %s\n", (unsigned long long)pack->size_bytes,
               qn_cli_bytes(pack->size_bytes).text, qn_cli_pack_state(pack->state));
}

int qn_cli_plan(int argc, char **argv)
{
    bool as_json = false;
    long n_ctx = 0, parallel = 1, n_batch = 512, n_threads = 0;
    const char *kv_name = "f16";
    const qn_option options[] = {
        {"-c, --ctx", QN_INT, &n_ctx, 0, 1 << 30, "N",
         "positions of each conversation (0: the model's, at most 4096)"},
        {"-np, --parallel", QN_INT, &parallel, 1, 4096, "P", "conversations at once"},
        {"-b, --batch", QN_INT, &n_batch, 1, 65536, "N", "tokens a step"},
        {"-t, --threads", QN_INT, &n_threads, 0, 256, "N", "threads"},
        {"-ctk, --cache-type", QN_TEXT, &kv_name, 0, 0, "TYPE",
         "cached keys and values: " QN_KV_TYPE_NAMES ", or KEYS/VALUES"},
        {"--json", QN_FLAG, &as_json, 0, 0, NULL, "print JSON"},
    };
    const int code = qn_options_parse("plan", options, sizeof options / sizeof options[0], &argc, argv, 1, 1);
    if (code >= 0) return code;
    quern_context_params params = quern_context_params_default();
    params.n_ctx = (uint32_t)n_ctx, params.n_sequences = (uint32_t)parallel,
    params.n_batch = (uint32_t)n_batch;
    params.n_threads = (int)n_threads;
    if (!qn_cli_kv_types(kv_name, &params.type_k, &params.type_v))
        return qn_cli_usage("plan: cache type '%s' (" QN_KV_TYPE_NAMES " are possible, or KEYS/VALUES)",
                            kv_name);
    quern_model *model = qn_cli_open(argv[1], QN_OPEN_HEADER, 1);
    if (model == NULL) return QN_EXIT_FAILURE;
    quern_plan plan;
    quern_pack_info pack;
    quern_error err;
    int result;
    quern_model_get_pack(model, &pack);
    if (quern_model_plan(model, &params, &plan, &err) != QUERN_OK) {
        result = qn_cli_fail(&err);
    } else if (as_json) {
        result = qn_cli_print_json(json_pack(
            "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:s, s:I}}", "device", "cpu", "weights",
            (json_int_t)plan.weight_bytes, "kv_cache", (json_int_t)plan.kv_bytes, "scratch",
            (json_int_t)plan.scratch_bytes, "total", (json_int_t)plan.total_bytes, "mapped_file",
            (json_int_t)plan.mapped_bytes, "ctx", (json_int_t)plan.n_ctx, "parallel", (json_int_t)parallel,
            "pack", "state", qn_cli_pack_state(pack.state), "bytes", (json_int_t)pack.size_bytes));
    } else {
        print_plan(&plan, &pack, (uint64_t)parallel);
        result = qn_cli_flush();
    }
    quern_model_close(model);
    return result;
}

int qn_cli_explain(int argc, char **argv)
{
    bool all = false;
    const qn_option options[] = {
        {"-a, --all", QN_FLAG, &all, 0, 0, NULL, "every layer, also those that are alike"}};
    const int code = qn_options_parse("explain", options, 1, &argc, argv, 1, 1);
    if (code >= 0) return code;
    quern_model *model = qn_cli_open(argv[1], QN_OPEN_HEADER, 1);
    if (model == NULL) return QN_EXIT_FAILURE;
    char *text;
    quern_error err;
    int result = QN_EXIT_FAILURE;
    if (quern_model_explain(model, !all, &text, &err) != QUERN_OK) {
        qn_cli_fail(&err);
    } else {
        fputs(text, stdout);
        quern_free(text);
        result = qn_cli_flush();
    }
    quern_model_close(model);
    return result;
}
