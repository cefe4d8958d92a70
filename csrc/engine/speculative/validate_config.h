// Refuses speculative options that make no sense, naming the field and its value, and pairs of
// models that cannot speak of the same tokens. Whoever accepts a request or makes a pair calls
// these once.
#pragma once

#include "engine/speculative/draft_model.h"
#include "model/config.h"
#include "model/vocabulary.h"
#include "realm/speculative_config.h"

namespace realm {

// Guesses per verification at most, whatever a request asks for.
constexpr int64_t kMaxDraftTokens = 16;

// Throws kInvalidRequest.
void validate(const SpeculativeConfig& config);

// What a pair is judged by. The vocabulary may be null: such a model takes and gives ids only.
struct PairMember {
  const ModelConfig& config;
  const Vocabulary* vocabulary;
};

// Throws kInvalidRequest, with the first difference, unless every id that both models have means
// the same token. Models without vocabularies must have equally many ids, as nothing else is known.
void check_pair(const PairMember& target, const PairMember& draft);
// The same, if there is a draft model.
void check_pair(const DraftModel& draft, const Model& target);

}  // namespace realm
