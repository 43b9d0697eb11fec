/* runner_parts.h: what the parts of a runner share (engine/runner.h): its slots (runner_slots.c), the guesses
 * of a step (runner_guess.c), the step itself (runner_step.c), and its life (runner.c). Nobody else looks in
 * here. */
#ifndef QN_ENGINE_RUNNER_PARTS_H
#define QN_ENGINE_RUNNER_PARTS_H

#include "engine/draft_model.h"
#include "engine/lookup_draft.h"
#include "engine/runner.h"

enum {
    QN_SPARE_ROWS = QN_SCORED_TOKENS, /* rows of logits beside those that slots draw from: for guesses, and
                                         for tokens of prompts whose log-probabilities are wanted */
    QN_LEAST_PIECE = 16,              /* tokens of a prompt that a step takes at least */
};

/* A row that gives the log-probabilities of a token of a prompt. */
typedef struct qn_prompt_row {
    quern_request *request;
    size_t item, row; /* of its prompt_log_probs; of the step's logits */
} qn_prompt_row;

/* Where one request runs. */
typedef struct qn_slot {
    quern_request *request; /* NULL: free */
    size_t seq;
    size_t n_in_step; /* tokens of it in this step, but for the guesses */
    size_t first_row; /* of these, in the batch */
    size_t n_right;   /* positions of the step that are its text: n_in_step, and guesses that came true */
    int32_t output;   /* row of logits it draws from; -1: none */
    quern_token draft[QN_MAX_DRAFT];
    size_t n_draft;
    int draft_kind;
    double certainty;      /* of the draft */
    qn_lookup_index *text; /* of its tokens, the first n_indexed; NULL: nothing is guessed */
    size_t n_indexed;
    quern_token ahead[QN_MAX_DRAFT]; /* what the text says comes after its first n_looked tokens */
    qn_lookup_guess looked;
    size_t n_looked;
    qn_draft_length draft_length;
    bool goes_on; /* after drawing */
    quern_status status;
    quern_error error;
} qn_slot;

struct qn_runner {
    char *name;
    const quern_model *model;
    qn_runner_host host;
    qn_context_setup setup;
    qn_kv_cache *cache;
    qn_prefix_tree *tree;
    qn_page_keeper *keeper; /* or NULL */
    size_t n_fetching;      /* requests whose pages are being read */
    quern_request *fetched; /* list: their pages have come with those of another answer */
    qn_cpu *cpu;
    qn_thread_pool *pool;
    qn_draft_model *draft; /* or NULL */
    size_t n_draft;        /* guesses that it makes at once; 0: as many as save time */
    qn_draft_text *asked;  /* [n_slots] what it is asked in this step */
    double plain_ns;       /* what this step would take without guesses */
    uint64_t model_ns;     /* that the model took for it */
    qn_step_pace pace;
    qn_slot *slots;    /* [n_slots] */
    qn_slot **by_turn; /* [n_active] most urgent first, of one priority the oldest */
    size_t n_slots, n_active;
    bool makes_guesses;
    quern_token *tokens; /* [n_batch] of the step */
    qn_segment *segments;
    int32_t *outputs; /* [setup.device.n_outputs] */
    qn_batch batch;
    qn_slot **drawing; /* [n_slots] slots of this step that draw */
    size_t n_drawing;
    qn_slot **embedding; /* [n_slots] slots of this step whose hidden states are pooled */
    size_t n_embedding;
    qn_service *services;        /* [n_slots] what this step did */
    qn_waits waits;              /* for the tokens that it drew */
    size_t n_spare, n_held_back; /* rows that the step can still use; of these, not for guesses */
    qn_prompt_row prompt_rows[QN_SPARE_ROWS];
    size_t n_prompt_rows;
    float *untouched; /* [threads][n_vocab] rows as the model left them, while samplers change them */
    qn_step_shape shape;
};

/* ---- slots (runner_slots.c) ---- */

size_t qn_slot_length(const qn_runner *r, const qn_slot *s); /* positions that are computed */
size_t qn_slot_left(const qn_runner *r, const qn_slot *s);   /* tokens that are to be computed */
bool qn_slot_streams(const qn_runner *r, const qn_slot *s);  /* an answer is being drawn */
/* Takes over what is known of the request's tokens by now, if that is more than it has. */
void qn_slot_find_prefix(qn_runner *r, qn_slot *s);
/* Frees it, and tells the end of its request. */
void qn_slot_end(qn_runner *r, qn_slot *s, quern_status status, quern_error *err);
/* Makes sure that a slot can compute n more positions: forgets what is kept for later, then puts back who is
 * last by turn and not in the step yet. False: the slot itself had to go. */
bool qn_slot_make_room(qn_runner *r, qn_slot *s, size_t n);

/* ---- guesses (runner_guess.c) ---- */

/* Guesses what follows the tokens of those who stream: the drafts of their slots. Before a step is filled. */
void qn_runner_guess(qn_runner *r, uint64_t budget_ns);
/* Looks up what its text says comes next. By the thread that drew for it. */
void qn_slot_look_ahead(qn_slot *s);
/* After a step in which the slot had a draft: how many of its tokens were true. */
void qn_runner_learn(qn_runner *r, qn_slot *s, size_t n_true);
/* The text of the slot is another one from now on. */
void qn_slot_forget_text(qn_runner *r, qn_slot *s);

#endif
