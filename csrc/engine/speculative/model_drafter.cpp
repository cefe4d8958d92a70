#include "engine/speculative/model_drafter.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "engine/speculative/validate_config.h"
#include "model/logits.h"

namespace realm {

namespace {

// A request lags by one token after a refused guess, by two when all stood. What lags further than
// a few rows is read in a call of its own, so that all calls with guesses cost about the same.
constexpr int64_t kUsualLag = 2, kMaxLag = 16;

KvSpaceShape shape_of(Model& model, const ModelDrafterOptions& options) {
  const ModelConfig& config = model.config();
  bool has_global = false;
  for (int64_t i = 0; i < config.n_layers; ++i) has_global |= !config.has_window(i);
  return {.block_tokens = model.backend().kv_page_tokens(),
          .has_global = has_global,
          .window = config.window,
          .n_global_blocks = options.pages.global,
          .n_window_blocks = options.pages.window,
          .max_chunk = options.max_rows + kMaxDraftTokens,
          .keep_prefixes = true};
}

// A model with long and short RoPE factors has two kinds of keys.
Sha256Digest root_of(const DraftRequest& request, const RopeConfig& rope,
                     const AdapterSet* adapters) {
  Sha256Digest factors{};
  factors[0] = std::byte{rope.scaling == RopeConfig::Scaling::kLongRope &&
                         request.max_length > rope.original_context};
  return chain_root(request.space, {{factors, adapters ? adapters->identity() : Sha256Digest{}}});
}

bool has_penalties(const SamplingParams& params) {
  return params.repetition_penalty != 1 || params.presence_penalty != 0 ||
         params.frequency_penalty != 0;
}

}  // namespace

ModelDrafter::ModelDrafter(std::shared_ptr<Model> model, const ModelDrafterOptions& options)
    : model_(std::move(model)),
      options_(options),
      space_(shape_of(*model_, options_)),
      cache_(model_->backend(), model_->config(), options_.kv_type, options_.pages),
      decoder_(model_->backend(), model_->config(), model_->weights(), options_.max_rows,
               options_.max_requests) {
  REALM_CHECK(options_.max_rows >= options_.max_requests * kUsualLag, "a draft model that reads ",
              options_.max_rows, " rows at a time cannot serve ", options_.max_requests,
              " requests at once");
}

void ModelDrafter::propose(std::span<const DraftRequest> requests, std::span<Draft> drafts) {
  std::vector<Run> runs;
  runs.reserve(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    Held* held = hold(requests[i], drafts[i]);
    if (!held) continue;
    runs.push_back({&requests[i], &drafts[i], held, {}, 0, false});
    if (!enter(runs.back())) runs.pop_back();
  }
  plan_rows(runs);
  std::vector<Run*> active;
  for (Run& run : runs) {
    if (run.n_rows > 0) active.push_back(&run);
  }
  while (!active.empty()) {
    forward(active);
    std::erase_if(active, [](const Run* run) { return run->n_rows == 0; });
  }
}

// Null, and why, if the request's adapter is not there.
ModelDrafter::Held* ModelDrafter::hold(const DraftRequest& request, Draft& draft) try {
  const auto at = held_.find(request.id);
  if (at != held_.end()) return &at->second;
  const std::string& name = request.config.draft_adapter;
  auto adapters = name.empty() ? nullptr : model_->adapters().set_of({{name, 1.0f}});
  const Sha256Digest root = root_of(request, model_->config().rope, adapters.get());
  Held held{KvSequence(space_, request.space, root), std::move(adapters), 0, 0};
  held.n_computed = held.n_standing = held.kv.adopt_prefix(request.tokens);
  return &held_.emplace(request.id, std::move(held)).first->second;
} catch (const Error& error) {
  draft.failure = concat("the draft model's adapter: ", error.what());
  return nullptr;
}

// False, with the reason, if there can be no guesses for the request now.
bool ModelDrafter::enter(Run& run) {
  const DraftRequest& request = *run.request;
  const ModelConfig& config = model_->config();
  Held& held = *run.held;
  const auto n = static_cast<int64_t>(request.tokens.size());
  // Guesses that were never settled go, and the last token is always read: its logits are needed.
  release(held, std::min(held.n_standing, n - 1));
  held.n_standing = n;
  if (n + request.n_wanted > config.n_ctx) {
    run.draft->failure =
        concat("the draft model's context of ", config.n_ctx, " tokens is used up");
    return false;
  }
  const auto unread = request.tokens.subspan(static_cast<size_t>(held.n_computed));
  const auto unknown = std::ranges::find_if(
      unread, [&](int32_t token) { return token < 0 || token >= config.n_vocab; });
  if (unknown != unread.end()) {
    run.draft->failure =
        concat("token ", *unknown, " is not in the draft model's vocabulary of ", config.n_vocab);
    return false;
  }
  if (has_penalties(request.params)) run.history = request.history;
  return true;
}

// Who guesses, and who reads a chunk, in the first forward: guesses first.
void ModelDrafter::plan_rows(std::span<Run> runs) {
  int64_t rows_left = options_.max_rows, requests_left = options_.max_requests;
  const auto give = [&](Run& run, int64_t n_rows, int64_t n_ahead) {
    const int64_t from = run.held->n_computed;
    if (!run.held->kv.reserve(from, from + n_rows + n_ahead)) {
      run.draft->delay = "the draft model's cache is full";
      return;
    }
    run.n_rows = n_rows;
    rows_left -= n_rows;
    --requests_left;
  };
  for (Run& run : runs) {
    const int64_t lag = run.held->n_standing - run.held->n_computed;
    run.is_guessing = lag <= kMaxLag && rows_left >= lag && requests_left > 0;
    if (run.is_guessing) give(run, lag, run.request->n_wanted - 1);
  }
  for (Run& run : runs) {
    if (run.is_guessing) continue;
    run.draft->delay = "the draft model reads what it has not seen yet";
    const int64_t lag = run.held->n_standing - run.held->n_computed;
    if (rows_left > 0 && requests_left > 0) give(run, std::min(lag, rows_left), 0);
  }
}

void ModelDrafter::forward(std::span<Run*> runs) {
  for (auto* rows : {&tokens_, &positions_, &wanted_}) rows->clear();
  for (auto* spans : {&spans_, &window_spans_}) spans->clear();
  for (const Run* run : runs) lay_out(*run);
  const auto n_vocab = static_cast<size_t>(model_->config().n_vocab);
  logits_.resize(wanted_.size() * n_vocab);
  {
    const auto lock = model_->lock_backend();
    decoder_.run({tokens_, positions_, spans_, wanted_, window_spans_}, cache_);
    if (!logits_.empty()) {
      model_->backend().download(decoder_.logits().data, logits_.data(),
                                 logits_.size() * sizeof(float));
    }
  }
  size_t row = 0;
  for (Run* run : runs) {
    run->held->n_computed += run->n_rows;
    run->n_rows = 0;
    if (run->is_guessing) guess(*run, std::span(logits_).subspan(row++ * n_vocab, n_vocab));
    run->held->kv.publish(run->request->tokens,
                          std::min(run->held->n_computed, run->held->n_standing - 1));
  }
}

void ModelDrafter::lay_out(const Run& run) {
  const auto first_row = static_cast<int32_t>(tokens_.size());
  const auto first_pos = static_cast<int32_t>(run.held->n_computed);
  const auto n = static_cast<int32_t>(run.n_rows);
  const auto known = run.request->tokens;
  for (int32_t pos = first_pos; pos < first_pos + n; ++pos) {
    const auto at = static_cast<size_t>(pos);
    tokens_.push_back(at < known.size() ? known[at] : run.draft->tokens[at - known.size()]);
    positions_.push_back(pos);
  }
  if (run.is_guessing) wanted_.push_back(first_row + n - 1);
  const auto planned =
      static_cast<int32_t>(std::min(run.request->max_length, model_->config().n_ctx));
  const AdapterSet* adapters = run.held->adapters.get();
  spans_.push_back({first_row, n, first_pos, planned, run.held->kv.global_blocks(), adapters});
  if (model_->config().window > 0) {
    window_spans_.push_back(
        {first_row, n, first_pos, planned, run.held->kv.window_blocks(), adapters});
  }
}

// The next guess, and one row for the place after it while more are wanted. Coupled guesses are
// drawn with the noise of the target's own draw, so that the two mostly agree; rejection needs a
// draw that is independent of it.
void ModelDrafter::guess(Run& run, std::span<const float> logits) try {
  const DraftRequest& request = *run.request;
  require_finite(logits);
  const SampleRow row{fitted(logits), request.params, run.history};
  const bool is_rejection = request.config.method == SpeculativeMethod::kRejection;
  const uint64_t position = request.tokens.size() + run.draft->tokens.size();
  const TokenNoise noise(request.seed, position,
                         is_rejection ? NoiseUse::kDraft : NoiseUse::kToken);
  const int32_t token = sampler_.sample(row, noise);
  if (is_rejection) sampler_.distribution(row, run.draft->laws.emplace_back());
  run.draft->tokens.push_back(token);
  // The draft cannot read on from a token that only the target has.
  const bool goes_on = static_cast<int64_t>(run.draft->tokens.size()) < request.n_wanted &&
                       token < model_->config().n_vocab;
  if (!goes_on) return;
  if (has_penalties(request.params)) run.history.push(token);
  run.n_rows = 1;
} catch (const Error& error) {
  *run.draft = {};
  run.draft->failure = concat("the draft model cannot guess: ", error.what());
  run.n_rows = 0;
}

// Logits over the target's ids: those that only the target has are never guessed, those that only
// the draft has cannot be.
std::span<const float> ModelDrafter::fitted(std::span<const float> logits) {
  const auto n = static_cast<size_t>(options_.target_vocab);
  if (n <= logits.size()) return logits.first(n);
  fitted_.assign(n, -std::numeric_limits<float>::infinity());
  std::ranges::copy(logits, fitted_.begin());
  return fitted_;
}

void ModelDrafter::release(Held& held, int64_t n_tokens) {
  held.kv.truncate(n_tokens);
  held.n_computed = std::min(held.n_computed, n_tokens);
}

void ModelDrafter::settle(uint64_t id, size_t n_accepted) noexcept {
  const auto at = held_.find(id);
  if (at == held_.end()) return;
  Held& held = at->second;
  release(held, held.n_standing + static_cast<int64_t>(n_accepted));
  held.n_standing = std::max(held.n_standing, held.n_computed);
}

void ModelDrafter::forget(uint64_t id) noexcept {
  held_.erase(id);
}

}  // namespace realm
