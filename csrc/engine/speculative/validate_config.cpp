#include "engine/speculative/validate_config.h"

#include "base/error.h"

namespace realm {

void validate(const SpeculativeConfig& config) {
  REALM_CHECK(config.max_draft_tokens >= 1 && config.max_draft_tokens <= kMaxDraftTokens,
              "max_draft_tokens must be from 1 to ", kMaxDraftTokens, ", is ",
              config.max_draft_tokens);
  REALM_CHECK(config.draft_k >= 0 && config.draft_k <= config.max_draft_tokens,
              "draft_k must be from 0 to max_draft_tokens, which is ", config.max_draft_tokens,
              ", is ", config.draft_k);
  REALM_CHECK(config.draft_k > 0 || config.adaptive,
              "draft_k is 0 and adaptive is off: nothing would ever be drafted");
  REALM_CHECK(config.draft_timeout_ms >= 1 && config.draft_timeout_ms <= 60'000,
              "draft_timeout_ms must be from 1 to 60000, is ", config.draft_timeout_ms);
  REALM_CHECK(config.draft_adapter.empty() || config.drafter == DrafterKind::kModel,
              "draft_adapter is ", quoted(config.draft_adapter),
              ", but the drafter is no model that could carry it");
}

void check_pair(const PairMember& target, const PairMember& draft) {
  if (!target.vocabulary || !draft.vocabulary) {
    REALM_CHECK(target.config.n_vocab == draft.config.n_vocab,
                "a pair in which not both models have a vocabulary needs equally many ids; the "
                "target has ",
                target.config.n_vocab, ", the draft ", draft.config.n_vocab);
    return;
  }
  const std::string difference = vocabulary_difference(*target.vocabulary, *draft.vocabulary);
  REALM_CHECK(difference.empty(), "the draft's vocabulary is not the target's: ", difference);
}

void check_pair(const DraftModel& draft, const Model& target) {
  if (!draft.model) return;
  check_pair({target.config(), target.vocabulary().get()},
             {draft.model->config(), draft.model->vocabulary().get()});
}

}  // namespace realm
