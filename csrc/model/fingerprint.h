// What tells one model from another: a digest of everything its answers depend on, of the weights
// some rows of each as they are in memory, so that a merged adapter or another fine-tune shows. A
// digest for honest mistakes (a snapshot given to the wrong model), not against forged weights.
#pragma once

#include "backend/backend.h"
#include "base/sha256.h"
#include "model/config.h"
#include "model/vocabulary.h"
#include "model/weights.h"

namespace realm {

// `vocabulary` may be null. Uses the backend.
Sha256Digest fingerprint_of(Backend& backend, const ModelConfig& config,
                            const Vocabulary* vocabulary, const ModelWeights& weights);

}  // namespace realm
