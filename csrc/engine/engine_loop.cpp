#include "engine/engine_loop.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "engine/kv_sizing.h"
#include "engine/speculative/validate_config.h"

namespace realm {

namespace {

KvPages pages_of(Model& model, const EngineOptions& options) {
  Backend& backend = model.backend();
  return pages_for(options, model.config(),
                   KvStorage::page_bytes(backend, model.config(), options.kv_type),
                   backend.kv_page_tokens(), backend.memory_for_cache());
}

KvSpaceShape shape_of(Model& model, const EngineOptions& options, KvPages pages) {
  const ModelConfig& config = model.config();
  bool has_global = false;
  for (int64_t i = 0; i < config.n_layers; ++i) has_global |= !config.has_window(i);
  return {.block_tokens = model.backend().kv_page_tokens(),
          .has_global = has_global,
          .window = config.window,
          .n_global_blocks = pages.global,
          .n_window_blocks = pages.window,
          .max_chunk = options.max_step_tokens,
          .keep_prefixes = options.prefix_cache};
}

KvPages pages_in(const KvSpaceShape& shape) {
  return {shape.n_global_blocks, shape.n_window_blocks};
}

// What the caller of a request is told of an exception. Short enough for a string without memory.
Error as_error(const std::exception& e) {
  if (const auto* error = dynamic_cast<const Error*>(&e)) return *error;
  const bool is_memory = dynamic_cast<const std::bad_alloc*>(&e) != nullptr;
  return Error(is_memory ? ErrorCode::kOutOfMemory : ErrorCode::kInternal,
               is_memory ? "out of memory" : e.what());
}

// Rows of a step that can have logits: with guesses, several for each request.
int64_t max_wanted(const EngineOptions& options) {
  return std::min(options.max_step_tokens,
                  std::max(4 * options.max_sequences, kMaxDraftTokens + 1));
}

// Null, and why in `draft.failure`, if there is no model or no memory for its cache.
std::shared_ptr<ModelDrafter> make_drafter(DraftModel& draft, const Model& target,
                                           EngineOptions options) try {
  if (!draft.model) return nullptr;
  Backend& backend = draft.model->backend();
  const ModelConfig& config = draft.model->config();
  ModelDrafterOptions drafter;
  drafter.kv_type = options.kv_type;
  drafter.max_requests = options.max_sequences;
  drafter.max_rows = std::max(options.max_step_tokens, 2 * options.max_sequences);
  drafter.target_vocab = target.config().n_vocab;
  options.kv_bytes = options.draft_kv_bytes;
  options.max_step_tokens = drafter.max_rows + kMaxDraftTokens;
  drafter.pages =
      pages_for(options, config, KvStorage::page_bytes(backend, config, options.kv_type),
                backend.kv_page_tokens(), backend.memory_for_cache() / 2);
  return std::make_shared<ModelDrafter>(draft.model, drafter);
} catch (const std::exception& e) {
  draft.failure = concat("the draft model's cache could not be made: ", as_error(e).what());
  return nullptr;
}

// What keys and values depend on besides tokens and namespace. A model with long and short RoPE
// factors has two kinds of them.
Sha256Digest root_of(Model& model, const RequestOptions& options, int64_t max_length) {
  const bool is_long =
      takes_long_factors(model.config().rope, model.weights().rope_factors, max_length);
  Sha256Digest factors{};
  factors[0] = std::byte{is_long};
  return chain_root(options.space, {{model.fingerprint(), options.adapters, factors}});
}

}  // namespace

EngineLoop::EngineLoop(std::shared_ptr<Model> model, const EngineOptions& options,
                       std::shared_ptr<Inbox> inbox, StepHook after_forward, DraftModel draft)
    : model_(std::move(model)),
      options_(options),
      inbox_(std::move(inbox)),
      space_(shape_of(*model_, options, pages_of(*model_, options))),
      scheduler_({.max_sequences = options.max_sequences,
                  .max_step_tokens = options.max_step_tokens,
                  .max_wanted = max_wanted(options),
                  .max_wait = std::chrono::milliseconds(options.max_wait_ms)},
                 space_),
      runner_(model_,
              {.max_rows = options.max_step_tokens,
               .max_wanted = max_wanted(options),
               .kv_type = options.kv_type,
               .pages = pages_in(space_.shape()),
               .hash_logits = options.record_logits_hash,
               .poison_blocks = options.poison_blocks,
               .after_forward = std::move(after_forward)},
              space_),
      drafter_(make_drafter(draft, *model_, options)),
      speculator_(drafter_, draft.failure, {max_wanted(options), model_->config().n_vocab}) {
  in_step_.reserve(static_cast<size_t>(options.max_sequences));
  counts_.kv_blocks_total = space_.n_blocks();
  counts_.draft_blocks_total = drafter_ ? drafter_->n_blocks() : 0;
  counts_.batch_widths.resize(static_cast<size_t>(options.max_sequences) + 1);
  stats_ = counts_;
}

void EngineLoop::run() noexcept {
  try {
    while (!inbox_->is_closed()) turn();
    for (auto& request : inbox_->take(Clock::now())) enter(std::move(request));
    end_all(FinishReason::kCancelled, std::nullopt);
  } catch (const std::exception& e) {
    give_up(e);
  }
}

// Something went wrong that is nobody's: the engine ends, and says so to all.
void EngineLoop::give_up(const std::exception& e) noexcept {
  try {
    inbox_->close(concat("the engine has stopped: ", e.what()));
    for (auto& request : inbox_->take(Clock::now())) enter(std::move(request));
    end_all(FinishReason::kError, as_error(e));
  } catch (const std::exception&) {  // no memory even for that
  }
}

void EngineLoop::turn() {
  for (auto& request : inbox_->take(wake_time())) enter(std::move(request));
  const Clock::time_point now = Clock::now();
  end_unwanted(now);
  draft();
  const std::span<const Work> work = scheduler_.plan(now);
  note_plan(now);
  for (Sequence* sequence : scheduler_.failed()) {
    end(*sequence, {}, FinishReason::kError, as_error(std::bad_alloc()));
  }
  is_idle_ = work.empty();
  if (!is_idle_) step(work);
  send();
}

// When to go on though nobody says anything: at once while there is work.
std::optional<Clock::time_point> EngineLoop::wake_time() const {
  if (!is_idle_) return Clock::now();
  std::optional<Clock::time_point> first = scheduler_.next_start();
  for (const auto& [order, sequence] : sequences_) {
    if (sequence.deadline && (!first || *sequence.deadline < *first)) first = sequence.deadline;
  }
  return first;
}

Sequence EngineLoop::make_sequence(const std::shared_ptr<Request>& request) {
  const RequestOptions& options = request->options();
  const int64_t max_length = planned_length(static_cast<int64_t>(options.prompt.size()),
                                            options.params.max_tokens, model_->config().n_ctx);
  Sequence sequence{.request = request,
                    .generation = {model_->vocabulary(), options.params, request->seed(),
                                   options.prompt, max_length},
                    .kv = {space_, options.space, root_of(*model_, options, max_length)},
                    .adapters = request->take_adapters(),
                    .priority = options.priority,
                    .order = request->id(),
                    .max_length = max_length,
                    .submitted_at = request->submitted_at(),
                    .speculation = speculator_.begin(options)};
  if (options.deadline_ms) {
    sequence.deadline = sequence.submitted_at + std::chrono::milliseconds(*options.deadline_ms);
  }
  if (options.flow) sequence.flow = &options.flow->book();
  return sequence;
}

// Brings a resumed answer to where it was.
void EngineLoop::restore(Sequence& sequence, Piece& piece) const {
  const Request::Restored& answer = sequence.request->restored();
  Generation& generation = sequence.generation;
  for (const int32_t token : answer.tokens) {
    const bool fits = !generation.finish() && !generation.is_full();
    if (!fits || !generation.take(token)) break;
  }
  const bool is_live = generation.n_generated() == static_cast<int64_t>(answer.tokens.size()) &&
                       !generation.finish() && !generation.is_full();
  if (!is_live) fail(ErrorCode::kFormat, "the snapshot's answer ends before its last token");
  sequence.logits_hash = answer.logits_hash;
  piece = {answer.tokens, generation.take_text(), answer.logprobs, {}};
}

void EngineLoop::enter(std::shared_ptr<Request> request) {
  ++counts_.total_requests;
  ++n_entered_;
  n_all_tokens_ += request->options().prompt.size();
  try {
    // In one turn a sequence has a letter with what was restored, one with tokens or its end, and
    // one more if those could not be delivered.
    letters_.reserve(letters_.size() + 3 * (sequences_.size() + 1));
    running_.reserve(sequences_.size() + 1);
    sequences_.emplace(request->id(), make_sequence(request));
  } catch (const std::exception& e) {
    note_end(*request, {FinishReason::kError, {}, {}, as_error(std::bad_alloc())});
    inbox_->release(*request, 0);
    return request->end_without_memory();
  }
  Sequence& sequence = sequences_.at(request->id());
  try {
    Piece restored;
    restore(sequence, restored);
    scheduler_.add(sequence);
    if (!restored.empty()) letters_.push_back({request, std::move(restored), sequence.logits_hash});
  } catch (const std::exception& e) {
    end(sequence, {}, FinishReason::kError, as_error(e));
  }
}

void EngineLoop::end_unwanted(Clock::time_point now) {
  for (auto at = sequences_.begin(); at != sequences_.end();) {
    Sequence& sequence = (at++)->second;
    if (sequence.request->is_cancelled()) {
      end(sequence, {}, FinishReason::kCancelled);
    } else if (sequence.deadline && now >= *sequence.deadline) {
      end(sequence, {}, FinishReason::kDeadline);
    }
  }
}

void EngineLoop::end_all(FinishReason reason, const std::optional<Error>& error) {
  while (!sequences_.empty()) end(sequences_.begin()->second, {}, reason, error);
  send();
}

void EngineLoop::draft() {
  running_.clear();
  for (auto& [order, sequence] : sequences_) {
    if (sequence.is_running) running_.push_back(&sequence);
  }
  try {
    speculator_.draft(running_);
  } catch (const std::bad_alloc&) {  // this step goes without
    for (Sequence* sequence : running_) sequence->draft.clear();
  }
}

// Notes what happened to a request for the engine and for its flow.
template <class Note>
void EngineLoop::count(const Request& request, Note note) {
  note(counts_);
  if (Flow* const flow = request.flow()) {
    flow->note([&](FlowStats& stats) {
      note(stats);
      stats.running = flow->book().n_running();
      stats.kv_blocks_used = flow->book().n_blocks;
    });
  }
}

void EngineLoop::note_plan(Clock::time_point now) {
  for (Sequence* sequence : scheduler_.admitted()) note_start(*sequence, now);
  for (const Sequence* sequence : scheduler_.preempted()) {
    count(*sequence->request, [](auto& stats) { ++stats.preempted; });
    sequence->request->note_preempted();
  }
}

void EngineLoop::note_start(Sequence& sequence, Clock::time_point now) {
  const auto wait = std::chrono::nanoseconds(now - sequence.submitted_at);
  count(*sequence.request, [&](auto& stats) {
    stats.prefix_hits += sequence.n_adopted > 0;
    stats.prefix_tokens += static_cast<uint64_t>(sequence.n_adopted);
    if (!sequence.has_started) stats.queue_wait.add(wait.count());
  });
  sequence.has_started = true;
  sequence.request->note_started(sequence.n_adopted);
}

void EngineLoop::step(std::span<const Work> work) {
  const Clock::time_point begin = Clock::now();
  ++counts_.steps;
  ++counts_.batch_widths[work.size()];
  const bool is_done = run_forward(work);
  const Clock::time_point now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - begin).count();
  counts_.step_seconds += seconds;
  if (!is_done) return;
  speculator_.note_forward(work, seconds);
  for (size_t i = 0; i < work.size(); ++i) accept(work[i], i, now);
  try {
    speculator_.note_step(std::chrono::duration<double>(Clock::now() - begin).count());
  } catch (const std::bad_alloc&) {  // one measurement less
  }
}

// False if there is nothing to accept.
bool EngineLoop::run_forward(std::span<const Work> work) {
  in_step_.clear();
  for (const Work& one : work) in_step_.push_back(one.sequence->request.get());
  bool is_done = false;
  std::optional<Error> error;
  try {
    runner_.run(work, inbox_->begin_step(in_step_));
    is_done = true;
  } catch (const std::exception& e) {
    error = as_error(e);
  }
  inbox_->end_step();
  if (error && error->code() == ErrorCode::kCancelled) {
    ++counts_.abandoned_steps;
  } else if (error) {
    fail_all(work, *error);
  }
  return is_done;
}

void EngineLoop::fail_all(std::span<const Work> work, const Error& error) {
  for (const Work& one : work) end(*one.sequence, {}, FinishReason::kError, error);
}

void EngineLoop::accept(const Work& work, size_t index, Clock::time_point now) {
  Sequence& sequence = *work.sequence;
  const int64_t n_drafted = sequence.n_drafted();
  Piece piece;
  try {
    const int64_t n_accepted = runner_.accept(work, index, piece);
    speculator_.settle(sequence, n_drafted, n_accepted, std::ssize(piece.tokens));
    note_rows(work, n_drafted, n_accepted);
    piece.text = sequence.generation.take_text();
  } catch (const std::exception& e) {  // what stood before it stands
    return end(sequence, std::move(piece), FinishReason::kError, as_error(e));
  }
  if (!piece.tokens.empty()) note_tokens(sequence, piece.tokens.size(), now);
  if (sequence.generation.finish()) {
    end(sequence, std::move(piece), sequence.generation.finish()->reason);
  } else if (!piece.empty()) {
    if (sequence.speculation) sequence.request->note_speculation(sequence.speculation->report);
    letters_.push_back({sequence.request, std::move(piece), sequence.logits_hash});
  }
}

void EngineLoop::note_rows(const Work& work, int64_t n_drafted, int64_t n_accepted) {
  count(*work.sequence->request, [&]<class Stats>(Stats& stats) {
    if constexpr (std::is_same_v<Stats, FlowStats>) {
      stats.rows_computed += static_cast<uint64_t>(work.n_rows);
      stats.draft_tokens += static_cast<uint64_t>(n_drafted);
      stats.accepted_tokens += static_cast<uint64_t>(n_accepted);
    } else if (work.n_rows - n_drafted > 1) {
      stats.prompt_tokens += static_cast<uint64_t>(work.n_rows);
    }
  });
}

void EngineLoop::note_tokens(Sequence& sequence, size_t n_tokens, Clock::time_point now) {
  n_all_tokens_ += n_tokens;
  const auto n = static_cast<int64_t>(n_tokens);
  const bool is_first = !sequence.last_token_at;
  const Clock::time_point before = sequence.last_token_at.value_or(sequence.submitted_at);
  const int64_t wait = std::chrono::nanoseconds(now - before).count();
  count(*sequence.request, [&](auto& stats) {
    stats.tokens_generated += n_tokens;
    if (is_first) {
      stats.time_to_first_token.add(wait);
    } else {
      stats.inter_token_latency.add(wait / n, n_tokens);
    }
  });
  {
    const std::lock_guard lock(stats_mutex_);
    rate_.add(n_tokens, now);
  }
  sequence.last_token_at = now;
}

void EngineLoop::note_end(const Request& request, const Finish& finish) {
  count(request, [&](auto& stats) {
    stats.cancelled += finish.reason == FinishReason::kCancelled;
    stats.failed += finish.reason == FinishReason::kError;
    if (finish.error) ++count_of(stats.errors, finish.error->code());
  });
}

// The sequence is gone after this; its blocks are free before its caller knows.
void EngineLoop::end(Sequence& sequence, Piece piece, FinishReason reason,
                     std::optional<Error> error) {
  try {
    sequence.generation.end(reason);
    piece.text += sequence.generation.take_text();
    if (sequence.speculation) sequence.request->note_speculation(sequence.speculation->report);
    speculator_.forget(sequence);
  } catch (const std::bad_alloc& e) {
    error = as_error(e);
  }
  piece.finish = sequence.generation.finish();
  if (error) piece.finish = Finish{FinishReason::kError, {}, {}, std::move(error)};
  scheduler_.remove(sequence);
  note_end(*sequence.request, *piece.finish);
  const bool has_begun = sequence.has_started || sequence.generation.n_generated() > 0;
  inbox_->release(*sequence.request, has_begun ? sequence.n_tokens() : 0);
  sequence.request->note_finished_step(counts_.steps);
  letters_.push_back({sequence.request, std::move(piece), sequence.logits_hash});
  sequences_.erase(sequence.order);
}

// Gives out what is new, after the figures that go with it.
void EngineLoop::send() {
  counts_.running = scheduler_.n_running();
  counts_.kv_blocks_used = space_.n_used();
  counts_.kv_blocks_cached = space_.n_parked();
  const Speculator::Totals& speculated = speculator_.totals();
  counts_.draft_tokens = speculated.drafted;
  counts_.accepted_tokens = speculated.accepted;
  counts_.verifications = speculated.verifications;
  counts_.draft_seconds = speculated.draft_seconds;
  counts_.draft_blocks_used = drafter_ ? drafter_->n_blocks_used() : 0;
  if (n_entered_ > 0) {
    counts_.average_sequence_length =
        static_cast<double>(n_all_tokens_) / static_cast<double>(n_entered_);
  }
  {
    const std::lock_guard lock(stats_mutex_);
    stats_ = counts_;
  }
  for (size_t i = 0; i < letters_.size(); ++i) deliver(letters_[i]);
  letters_.clear();
}

// An answer with a hole is worth nothing: if there is no memory for a piece, its request ends.
void EngineLoop::deliver(Letter& letter) {
  const std::shared_ptr<Request> request = letter.request;
  const bool is_last = letter.piece.finish.has_value();
  try {
    request->emit(std::move(letter.piece), letter.logits_hash);
  } catch (const std::bad_alloc& e) {
    const auto live = sequences_.find(request->id());
    if (live != sequences_.end()) end(live->second, {}, FinishReason::kError, as_error(e));
    if (is_last) request->end_without_memory();
  }
}

EngineStats EngineLoop::stats() const {
  EngineStats stats;
  {
    const std::lock_guard lock(stats_mutex_);
    stats = stats_;
    stats.tokens_per_second = rate_.per_second(Clock::now());
  }
  stats.refused = inbox_->n_refused();
  stats.active_requests = inbox_->n_live();
  stats.waiting = std::max<int64_t>(0, stats.active_requests - stats.running);
  return stats;
}

}  // namespace realm
