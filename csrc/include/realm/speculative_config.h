// How one request is speculated: plain options, each default stated here and nowhere else. A
// drafter guesses the next tokens cheaply, and one forward of the target judges all of them.
#pragma once

#include <cstdint>
#include <string>

namespace realm {

enum class DrafterKind {
  kModel,   // the engine's draft model
  kNgram,   // what followed the last words when the prompt or the output had them before
  kCustom,  // the embedding program's own
};

enum class SpeculativeMethod {
  // A guess stands if it is the token that plain sampling draws with the request's seed: the answer
  // is the plain one, whatever the drafter and the number of guesses.
  kCoupled,
  // A guess stands with probability target / draft, and what replaces a refused one comes from the
  // residual: accepts more at high temperatures and is exact in law, but the text that a seed gives
  // then depends on what was guessed.
  kRejection,
};

struct SpeculativeConfig {
  // Guesses per verification: when adaptive, at first, until costs are known; else always. 0 starts
  // without.
  int64_t draft_k = 4;
  // Upper limit of guesses per verification.
  int64_t max_draft_tokens = 8;
  DrafterKind drafter = DrafterKind::kModel;
  // Chooses the number of guesses from measured acceptance and measured costs, 0 included.
  bool adaptive = true;
  SpeculativeMethod method = SpeculativeMethod::kCoupled;
  // The adapter of the draft model; empty for none. Independent of the request's own.
  std::string draft_adapter;
  // How long a call of the embedding program's own drafter may take.
  int64_t draft_timeout_ms = 100;

  bool operator==(const SpeculativeConfig&) const = default;
};

}  // namespace realm
