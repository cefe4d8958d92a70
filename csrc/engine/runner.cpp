#include "engine/runner.h"

#include <algorithm>
#include <utility>

#include "backend/watch.h"
#include "base/error.h"
#include "engine/logits_hash.h"
#include "model/logits.h"

namespace realm {

Runner::Runner(std::shared_ptr<Model> model, RunnerOptions options, KvSpace& space)
    : model_(std::move(model)),
      options_(std::move(options)),
      cache_(model_->backend(), model_->config(), options_.kv_type, options_.pages),
      decoder_(model_->backend(), model_->config(), model_->weights(), options_.max_rows,
               options_.max_wanted),
      rows_(model_, options_.max_wanted) {
  const auto rows = static_cast<size_t>(options_.max_rows);
  const auto wanted = static_cast<size_t>(options_.max_wanted);
  for (auto* of_rows : {&tokens_, &positions_}) of_rows->reserve(rows);
  for (auto* spans : {&spans_, &window_spans_}) spans->reserve(rows);
  wanted_.reserve(wanted);
  first_wanted_.reserve(rows);
  lists_.reserve(wanted);
  if (options_.poison_blocks) space.note_taken(&taken_global_, &taken_window_);
}

void Runner::run(std::span<const Work> work, const std::atomic<bool>& abandon) {
  lay_out(work);
  const StepBatch step = this->step();
  {
    const auto lock = model_->lock_backend();
    poison_taken();
    const CancelWatch watch(model_->backend(), &abandon);
    decoder_.run(step, cache_);
    rows_.read(decoder_.logits(), lists_);
  }
  if (options_.after_forward) options_.after_forward(step, rows_.all());
}

void Runner::lay_out(std::span<const Work> work) {
  for (auto* rows : {&tokens_, &positions_, &wanted_}) rows->clear();
  for (auto* spans : {&spans_, &window_spans_}) spans->clear();
  first_wanted_.clear();
  lists_.clear();
  for (const Work& one : work) lay_out(one);
}

void Runner::lay_out(const Work& work) {
  const Sequence& sequence = *work.sequence;
  const auto first_row = static_cast<int32_t>(tokens_.size());
  const auto first_pos = static_cast<int32_t>(sequence.n_computed);
  const auto n = static_cast<int32_t>(work.n_rows);
  const auto known = sequence.generation.tokens().subspan(static_cast<size_t>(first_pos));
  const size_t n_known = std::min(known.size(), static_cast<size_t>(n));
  tokens_.insert(tokens_.end(), known.begin(), known.begin() + static_cast<ptrdiff_t>(n_known));
  tokens_.insert(tokens_.end(), sequence.draft.begin(),
                 sequence.draft.begin() + (n - static_cast<ptrdiff_t>(n_known)));
  for (int32_t i = 0; i < n; ++i) positions_.push_back(first_pos + i);
  first_wanted_.push_back(wanted_.size());
  for (int64_t i = n - work.n_wanted; i < n; ++i) {
    wanted_.push_back(first_row + static_cast<int32_t>(i));
    lists_.push_back(list_for(sequence));
  }
  const auto planned = static_cast<int32_t>(sequence.max_length);
  const AdapterSet* adapters = sequence.adapters.get();
  spans_.push_back({first_row, n, first_pos, planned, sequence.kv.global_blocks(), adapters});
  if (model_->config().window > 0) {
    window_spans_.push_back(
        {first_row, n, first_pos, planned, sequence.kv.window_blocks(), adapters});
  }
}

// Of the rows of a sequence: those who ask for more than a token get whole rows.
int64_t Runner::list_for(const Sequence& sequence) const {
  const Speculation* speculation = sequence.speculation.get();
  const SamplingParams& params = sequence.generation.params();
  const bool whole = options_.hash_logits || options_.after_forward || params.logprobs ||
                     (speculation && speculation->config.method == SpeculativeMethod::kRejection);
  return whole ? 0 : Sampler::list_for(params, rows_.max_list());
}

void Runner::poison_taken() {
  poison(taken_global_, false);
  poison(taken_window_, true);
}

// All bits set: NaN in f32, f16 and bf16, and in the scales of Q8_0.
void Runner::poison(std::vector<BlockId>& blocks, bool in_window) {
  const ModelConfig& config = model_->config();
  Backend& backend = model_->backend();
  const int64_t bytes =
      backend.kv_page_bytes(options_.kv_type, config.n_kv_heads, config.head_width);
  const std::vector<std::byte> nan(static_cast<size_t>(bytes), std::byte{0xff});
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    if (config.has_window(layer) != in_window) continue;
    for (const BlockId block : blocks) {
      backend.upload(nan.data(), cache_.layer(layer).data + block * bytes, nan.size());
    }
  }
  blocks.clear();
}

int64_t Runner::accept(const Work& work, size_t index, Piece& piece) {
  Sequence& sequence = *work.sequence;
  const int64_t n_drafted = sequence.n_drafted();
  const int64_t n_accepted = work.n_wanted > 0 ? draw(work, first_wanted_[index], piece) : 0;
  sequence.n_computed += work.n_rows - n_drafted + n_accepted;
  if (n_drafted > 0) sequence.kv.truncate(sequence.n_computed);
  sequence.draft.clear();
  sequence.kv.publish(sequence.generation.tokens(), sequence.n_computed);
  return n_accepted;
}

// Draws a token from the first wanted row, and from each further one as long as the token before it
// is the one that was guessed there. Returns how many guesses stand.
int64_t Runner::draw(const Work& work, size_t first_wanted, Piece& piece) {
  Sequence& sequence = *work.sequence;
  for (size_t i = 0;; ++i) {
    std::span<const float> row;  // empty where the first of its logits are enough
    std::optional<Verdict> verdict = verdict_of_top(sequence, rows_.top(first_wanted + i), i);
    if (!verdict) {
      row = rows_.whole(first_wanted + i);
      require_finite(row);
      if (options_.hash_logits) sequence.logits_hash = hash_logits(sequence.logits_hash, row);
      verdict = this->verdict(sequence, row, i);
    }
    const bool goes_on = take(sequence, row, verdict->token, piece);
    if (!goes_on || !verdict->is_draft)
      return static_cast<int64_t>(i) + (verdict->is_draft ? 1 : 0);
  }
}

// What the whole row would say; nothing where its first logits do not tell.
std::optional<Verdict> Runner::verdict_of_top(const Sequence& sequence,
                                              std::span<const TopLogit> top, size_t i) {
  if (top.empty()) return std::nullopt;
  const Generation& generation = sequence.generation;
  const std::optional<int32_t> token = drawing_.sampler.sample_top(
      top, static_cast<size_t>(model_->config().n_vocab), generation.params(),
      TokenNoise(generation.seed(), generation.tokens().size()));
  if (!token) return std::nullopt;
  return i < sequence.draft.size() ? accept_coupled(*token, sequence.draft[i])
                                   : Verdict{*token, false};
}

// What stands after the first i guesses.
Verdict Runner::verdict(const Sequence& sequence, std::span<const float> logits, size_t i) {
  const Generation& generation = sequence.generation;
  const JudgedRow judged{{logits, generation.params(), generation.history()},
                         generation.seed(),
                         generation.tokens().size()};
  const Speculation* speculation = sequence.speculation.get();
  const auto method = speculation ? speculation->config.method : SpeculativeMethod::kCoupled;
  if (i >= sequence.draft.size()) return judge(judged, nullptr, method, drawing_.sampler);
  DraftedToken drafted{sequence.draft[i]};
  if (speculation && !speculation->laws.empty()) drafted.law = &speculation->laws[i];
  return judge(judged, &drafted, method, drawing_.sampler);
}

bool Runner::take(Sequence& sequence, std::span<const float> logits, int32_t token, Piece& piece) {
  Generation& generation = sequence.generation;
  std::optional<Logprobs> logprobs = generation.logprobs_of(logits, token, drawing_);
  if (generation.take(token)) {
    piece.tokens.push_back(token);
    if (logprobs) piece.logprobs.push_back(std::move(*logprobs));
    if (generation.is_full()) generation.end(FinishReason::kLength);
  }
  return !generation.finish();
}

}  // namespace realm
