// What an engine's thread does: take new requests in, end those that are no longer wanted, let the
// scheduler choose, run, accept, and give out what is new. Everything but stats() and the checks of
// a request belongs to that thread.
//
// Whatever goes wrong with one request ends that request alone; what goes wrong with a step ends
// the requests in it, and the engine lives on.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "engine/engine_stats.h"
#include "engine/inbox.h"
#include "engine/rate_meter.h"
#include "engine/runner.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/speculative/draft_model.h"
#include "engine/speculative/model_drafter.h"
#include "engine/speculative/speculator.h"
#include "kv/kv_space.h"
#include "model/model.h"
#include "realm/engine_options.h"

namespace realm {

class EngineLoop {
 public:
  EngineLoop(std::shared_ptr<Model> model, const EngineOptions& options,
             std::shared_ptr<Inbox> inbox, StepHook after_forward, DraftModel draft);

  // Until the inbox is closed; then ends all that is left.
  void run() noexcept;

  // From any thread. Whether a sequence can ever reach `n_tokens` in this engine's cache; its
  // pages.
  bool can_hold(int64_t n_tokens) const { return space_.can_hold(n_tokens); }
  int64_t n_blocks() const { return space_.n_blocks(); }
  int64_t blocks_for(int64_t n_tokens) const { return space_.blocks_for(n_tokens); }
  EngineStats stats() const;

 private:
  using Sequences = std::map<uint64_t, Sequence>;  // by order of arrival
  // A piece on its way to its request.
  struct Letter {
    std::shared_ptr<Request> request;
    Piece piece;
    uint64_t logits_hash;
  };

  void give_up(const std::exception& e) noexcept;
  void turn();
  std::optional<Clock::time_point> wake_time() const;
  void enter(std::shared_ptr<Request> request);
  Sequence make_sequence(const std::shared_ptr<Request>& request);
  void restore(Sequence& sequence, Piece& piece) const;
  void end_unwanted(Clock::time_point now);
  void end_all(FinishReason reason, const std::optional<Error>& error);
  void draft();
  void note_plan(Clock::time_point now);
  void step(std::span<const Work> work);
  bool run_forward(std::span<const Work> work);
  void fail_all(std::span<const Work> work, const Error& error);
  void accept(const Work& work, size_t index, Clock::time_point now);
  void end(Sequence& sequence, Piece piece, FinishReason reason, std::optional<Error> error = {});
  template <class Note>
  void count(const Request& request, Note note);
  void note_start(Sequence& sequence, Clock::time_point now);
  void note_rows(const Work& work, int64_t n_drafted, int64_t n_accepted);
  void note_tokens(Sequence& sequence, size_t n_tokens, Clock::time_point now);
  void note_end(const Request& request, const Finish& finish);
  void send();
  void deliver(Letter& letter);

  const std::shared_ptr<Model> model_;
  const EngineOptions options_;
  const std::shared_ptr<Inbox> inbox_;
  KvSpace space_;
  Scheduler scheduler_;
  Runner runner_;
  std::shared_ptr<ModelDrafter> drafter_;  // null if there is no draft model
  Speculator speculator_;
  Sequences sequences_;
  bool is_idle_ = true;  // the last plan was empty
  std::vector<Letter> letters_;
  std::vector<const Request*> in_step_;
  std::vector<Sequence*> running_;
  EngineStats counts_;  // the thread's own, published by send()
  uint64_t n_entered_ = 0, n_all_tokens_ = 0;

  mutable std::mutex stats_mutex_;
  EngineStats stats_;
  mutable RateMeter rate_;
};

}  // namespace realm
