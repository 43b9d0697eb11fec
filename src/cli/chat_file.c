/* chat_file.c: a conversation on the disk. FILE has its messages as JSON, for people and for other programs;
 * FILE.state beside it has what was computed of them, so that it need not be computed again. The two need not
 * agree: of a state only that is used which is the beginning of the conversation. */
#include "cli/run.h"

#include "base/file.h"
#include "base/file_replace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool state_path(char state[PATH_MAX], const char *path)
{
    return qn_path_format(state, "%s.state", path);
}

static quern_status write_messages(const char *path, const char *text, quern_error *err)
{
    qn_file_replacement file;
    const quern_status s = qn_file_replace_begin(&file, path, 0666, err);
    const size_t n_bytes = strlen(text);
    if (s != QUERN_OK) return s;
    if (qn_file_write_at(file.fd, text, n_bytes, 0) && qn_file_write_at(file.fd, "\n", 1, n_bytes))
        return qn_file_replace_commit(&file, err);
    const quern_status failed = qn_file_replace_fail(&file, err);
    qn_file_replace_abandon(&file);
    return failed;
}

/* A conversation is saved also where its state cannot be. */
static void save_state(const qn_chat_session *s, const char *path)
{
    char state[PATH_MAX];
    quern_error err;
    if (!state_path(state, path)) return;
    if (quern_sequence_length(s->ctx, 0) == 0) (void)unlink(state); /* one of before would be of no use */
    else if (quern_sequence_save(s->ctx, 0, state, &err) != QUERN_OK)
        fprintf(stderr, "quern: %s: the conversation will be computed again when it is loaded\n",
                err.message);
}

bool qn_chat_session_save(const qn_chat_session *s, const char *path)
{
    quern_error err;
    json_t *all = json_pack("{s:O}", "messages", s->messages);
    char *text = all != NULL ? json_dumps(all, JSON_INDENT(2)) : NULL;
    json_decref(all);
    if (text == NULL) return qn_cli_fail_text("%s: no memory", path), false;
    const bool ok = write_messages(path, text, &err) == QUERN_OK;
    free(text);
    if (!ok) return qn_cli_fail(&err), false;
    save_state(s, path);
    return true;
}

/* Messages as this program saves them: text from system (first only), user and assistant. */
static bool is_conversation(const json_t *messages)
{
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        if (role == NULL || !json_is_string(json_object_get(m, "content"))) return false;
        if (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0 &&
            (strcmp(role, "system") != 0 || i > 0))
            return false;
    }
    return json_is_array(messages);
}

static void load_state(qn_chat_session *s, const char *path)
{
    char state[PATH_MAX];
    quern_error err;
    if (!state_path(state, path)) return;
    const quern_status status = quern_sequence_restore(s->ctx, 0, state, &err);
    if (status != QUERN_OK && status != QUERN_ERR_NOT_FOUND)
        fprintf(stderr, "quern: %s: the conversation is computed again\n", err.message);
}

bool qn_chat_session_load(qn_chat_session *s, const char *path)
{
    quern_error err;
    json_error_t where;
    char *text;
    size_t n_bytes;
    if (qn_file_read(&text, &n_bytes, path, (size_t)64 << 20, &err) != QUERN_OK)
        return qn_cli_fail(&err), false;
    json_t *all = json_loadb(text, n_bytes, 0, &where);
    quern_free(text);
    if (all == NULL) return qn_cli_fail_text("%s: line %d: %s", path, where.line, where.text), false;
    json_t *messages = json_is_array(all) ? all : json_object_get(all, "messages");
    const bool ok = is_conversation(messages);
    if (ok) {
        json_decref(s->messages);
        s->messages = json_incref(messages);
        s->attempt = 0;
        s->n_forgotten = 0;
        load_state(s, path);
    } else {
        qn_cli_fail_text("%s: is not a saved conversation: \"messages\" with \"role\" (system, user, "
                         "assistant) and \"content\"",
                         path);
    }
    json_decref(all);
    return ok;
}

bool qn_chat_session_resume(qn_chat_session *s, const char *path)
{
    if (access(path, F_OK) != 0 && errno == ENOENT) return true;
    if (!qn_chat_session_load(s, path)) return false;
    return s->options->system == NULL || qn_chat_session_set_system(s, s->options->system);
}
