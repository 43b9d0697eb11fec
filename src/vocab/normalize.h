/* normalize.h: Unicode normal form C (UAX #15) for texts that may contain invalid bytes.
 *
 * Only the places that can change are given to utf8proc: a character that is stable in NFC and never
 * joins its predecessor ends the stretch before it. A stretch is cut after 128 characters, so a text
 * of nothing but combining marks costs linear time (utf8proc sorts marks by insertion). */
#ifndef QN_VOCAB_NORMALIZE_H
#define QN_VOCAB_NORMALIZE_H

#include "base/buffer.h"

/* True if NFC may change the text: only then qn_normalize_nfc is worth its copy. */
bool qn_normalize_may_change(const char *text, size_t n_bytes);
/* Appends the normal form of the text; invalid bytes stay as they are. False: no memory. */
bool qn_normalize_nfc(qn_buffer *out, const char *text, size_t n_bytes);

#endif
