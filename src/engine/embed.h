/* embed.h: which pooling a model means. */
#ifndef QN_ENGINE_EMBED_H
#define QN_ENGINE_EMBED_H

#include "engine/model.h"

/* What QUERN_POOLING_DEFAULT stands for; others stay as they are. */
quern_pooling qn_model_pooling(const quern_model *model, quern_pooling pooling);

#endif
