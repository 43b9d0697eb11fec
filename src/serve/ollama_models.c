/* ollama_models.c: what models there are, in Ollama's form, and vectors (serve/ollama.h). */
#include "serve/fields.h"
#include "serve/ollama.h"
#include "serve/openai.h"
#include "serve/server_parts.h"

#include <stdio.h>
#include <time.h>

qn_ollama_time qn_ollama_time_of(int64_t seconds)
{
    qn_ollama_time t;
    struct tm parts;
    const time_t at = (time_t)seconds;
    gmtime_r(&at, &parts);
    strftime(t.text, sizeof t.text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return t;
}

/* "134.5M" */
static void write_size(char *text, size_t size, uint64_t n_parameters)
{
    const double millions = (double)n_parameters / 1e6;
    if (millions >= 1000) snprintf(text, size, "%.1fB", millions / 1000);
    else snprintf(text, size, "%.1fM", millions);
}

static json_t *details_of(const quern_model_info *about)
{
    char size[32];
    write_size(size, sizeof size, about->n_parameters);
    return json_pack("{s:s, s:s, s:s, s:[s], s:s, s:s}", "parent_model", "", "format", "gguf", "family",
                     about->architecture, "families", about->architecture, "parameter_size", size,
                     "quantization_level", about->file_type);
}

/* is_loaded: only those that are. */
static void reply_models(qn_exchange *x, bool is_loaded)
{
    json_t *list = json_array();
    quern_engine_model_info info;
    for (size_t i = 0; list != NULL && quern_engine_get_model(x->server->engine, i, &info); i++) {
        quern_model_info about;
        if (is_loaded && info.state != QUERN_MODEL_LOADED) continue;
        quern_model_get_info(quern_engine_model(x->server->engine, info.name), &about);
        json_t *item = json_pack("{s:s, s:s, s:I, s:s, s:o}", "name", info.name, "model", info.name, "size",
                                 (json_int_t)(is_loaded ? info.bytes : about.file_bytes), "digest", "",
                                 "details", details_of(&about));
        if (is_loaded) {
            json_object_set_new(item, "size_vram", json_integer(0));
            json_object_set_new(item, "context_length", json_integer(info.n_ctx));
        } else {
            json_object_set_new(item, "modified_at",
                                json_string(qn_ollama_time_of(x->server->started_s).text));
        }
        json_array_append_new(list, item);
    }
    qn_reply_json(x, 200, json_pack("{s:o}", "models", list));
}

void qn_ollama_tags(qn_exchange *x)
{
    reply_models(x, false);
}

void qn_ollama_ps(qn_exchange *x)
{
    reply_models(x, true);
}

void qn_ollama_version(qn_exchange *x)
{
    qn_reply_json(x, 200, json_pack("{s:s}", "version", quern_version()));
}

/* What the file says of itself, arrays cut. */
static json_t *metadata_of(const quern_model *model)
{
    char key[256], value[512];
    json_t *all = json_object();
    for (size_t i = 0; quern_model_metadata(model, i, key, sizeof key, value, sizeof value); i++)
        json_object_set_new(all, key, json_string(value));
    return all;
}

static json_t *capabilities_of(const quern_model_info *about)
{
    json_t *list = json_array();
    if (about->generates) json_array_append_new(list, json_string("completion"));
    if (about->generates && about->has_chat_template) json_array_append_new(list, json_string("tools"));
    if (about->reasons) json_array_append_new(list, json_string("thinking"));
    if (!about->generates) json_array_append_new(list, json_string("embedding"));
    return list;
}

void qn_ollama_show(qn_exchange *x)
{
    const char *name = NULL;
    quern_model_info about;
    json_t *root = qn_exchange_parse(x);
    if (root == NULL) return;
    const qn_fields f = qn_fields_of(root, &x->problem);
    const quern_model *model = qn_openai_model(x, &f, &name);
    json_decref(root);
    if (model == NULL) return;
    quern_model_get_info(model, &about);
    qn_reply_json(x, 200,
                  json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:s}", "modelfile", "", "parameters", "",
                            "template", "", "details", details_of(&about), "model_info", metadata_of(model),
                            "capabilities", capabilities_of(&about), "modified_at",
                            qn_ollama_time_of(x->server->started_s).text));
}
